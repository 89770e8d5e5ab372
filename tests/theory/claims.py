"""What each registered term is said to do to entropy, and the test that holds it to it; or why nothing is said."""

from __future__ import annotations

RAISES_RARE = "test_without_the_upper_clip_a_rewarded_token_beyond_it_raises_entropy_if_it_is_rare_and_else_lowers_it"
MISMATCH = "the mismatch of two engines, by which it weights or drops, is rounding: it has no direction in entropy"
LENGTH = "test_with_right_and_wrong_answers_a_base_estimator_changes_the_length_of_a_step_and_not_its_direction"
PREFERS = "a preference of lengths names no distribution, as the end of a text may be likely or not: it prefers"

CLAIMS = {
    "rewards": {
        "diversity": "test_a_reward_for_being_unlike_the_others_raises_entropy_where_all_are_right",
    },
    "advantages": {
        "w_reinforce": "test_w_reinforce_reward_lowers_entropy_and_punishment_raises_it_on_likely_completions_and_not_on_rare",
        "entropic": "test_entropic_lowers_entropy_by_a_positive_alpha_on_likely_completions_and_not_on_rare",
        "entrocraft": "test_entrocraft_brings_entropy_back_to_its_band_by_likely_completions_and_drives_it_away_by_rare",
        "edge": "test_edge_speeds_the_decided_states_and_slows_the_uncertain_ones_whichever_way_they_go",
        "entropy_shaped": "test_entropy_shaped_has_no_direction_of_its_own",
        "grpo": LENGTH,
        "dr_grpo": LENGTH,
        "rloo": LENGTH,
        "passk": LENGTH,
        "gae": LENGTH,
        "reinforce_pp": LENGTH,
        "opo": LENGTH,
        "otb": LENGTH,
        "qae": LENGTH,
        "pshw": LENGTH,
        "pkpo": LENGTH,
        "seed": "test_seed_slows_a_state_by_its_own_entropy_whichever_way_it_goes",
        "dco": "test_dco_slows_the_states_that_mostly_succeed_whichever_way_they_go",
        "adora": "test_adora_slows_the_states_that_fail_its_criterion_whichever_way_they_go",
        "maxrl": LENGTH,
        "gtpo": LENGTH,
        "unlikeliness": "test_unlikeliness_raises_entropy_in_every_state_where_all_answers_are_right",
        "repo": "test_repo_raises_entropy_by_a_positive_size_and_lowers_it_by_a_negative_one",
        "ar": "test_reweighting_by_probability_has_no_direction_of_its_own",
        "dcpo": "test_dcpo_moves_entropy_towards_its_target_from_both_sides_where_the_reward_is_neutral",
    },
    "weights": {
        "clip_v": "test_clip_v_raises_entropy_in_every_state_whatever_it_drops",
        "clip_b": "test_clip_b_raises_entropy_in_every_state_where_its_threshold_is_below_zero",
        "clip_cov": "test_clip_cov_slows_the_fall_of_entropy_where_it_takes_out_the_tail_of_the_covariance",
        "steer": "test_steer_slows_entropy_where_all_tokens_of_a_state_pull_one_way",
        "entropy_tilt": "test_entropy_tilt_raises_entropy_by_a_positive_gain_and_lowers_it_by_a_negative_one",
        "fipo": "test_fipo_does_nothing_in_the_first_update_and_then_speeds_what_has_become_likelier_whichever_way_entropy_goes",
        "tip": "test_tip_moves_the_states_it_selects_twice_as_far_and_stops_the_others",
        "high_entropy": "test_high_entropy_stops_the_decided_states_and_has_no_direction_of_its_own",
    },
    "loss": {
        "cispo": RAISES_RARE,
        "sapo": RAISES_RARE,
        "ce_gppo": RAISES_RARE,
        "gpg": RAISES_RARE,
        "unclipped": RAISES_RARE,
        "ppo_clip": RAISES_RARE,
        "dro": RAISES_RARE,
        "dppo": "test_dppo_keeps_the_rare_rewarded_tokens_that_the_ratio_clip_takes_out_and_drops_the_likely",
        "ipo": "test_ipo_drops_a_token_that_has_moved_whichever_way_it_would_go_and_dppo_only_one_that_moves_away",
        "copo": "test_copo_slows_the_states_whose_answers_agree_and_its_global_loss_has_no_effect_in_expectation",
        "aspo": "test_aspo_slows_rewarded_actions_ahead_and_speeds_those_behind_by_the_square_of_their_ratio_in_the_same_direction",
        "bapo": "test_bapo_raises_entropy_by_a_rewarded_rare_action_above_its_first_bound_only_where_punishment_outweighs_reward",
        "era": "test_era_trains_the_policy_at_the_inverse_temperature_and_its_optimum_leaves_the_sampler_more_entropy",
        "flowrl": "test_flowrl_raises_the_entropy_of_a_policy_that_is_surer_than_the_tilted_reference_and_lowers_that_of_a_flatter_one",
        "archer": "test_archer_raises_entropy_by_the_rare_rewarded_tokens_of_uncertain_states_alone",
    },
    "penalties": {
        "entropy_bonus": "test_a_bonus_raises_the_shannon_entropy_of_every_state_and_a_negative_one_lowers_it",
        "renyi_bonus": "test_a_bonus_raises_the_shannon_entropy_of_every_state_and_a_negative_one_lowers_it",
        "kl_cov": "test_kl_cov_slows_the_fall_of_entropy_from_the_second_update_on_and_does_nothing_in_the_first",
        "kl_bucket": "test_each_bucket_is_pulled_to_the_reference_by_its_own_beta",
        "kl_ref": "test_a_flat_reference_raises_entropy_and_a_peaked_one_lowers_it",
        "distill": "test_a_flat_teacher_raises_entropy_and_a_sure_one_lowers_it",
        "lp_reg": "test_the_old_proxy_stops_the_decay_of_rare_tokens_lets_noise_go_and_keeps_entropy_up",
        "aepo": "test_aepo_raises_entropy_by_warm_samples_below_its_target_and_lowers_it_by_cool_ones_above_where_all_are_right",
        "ter": "test_the_targeted_entropy_penalty_pulls_from_both_sides_with_one_force_and_rests_on_its_target",
        "ent_smooth": "test_entropy_smoothing_pulls_every_state_towards_its_band_and_leaves_those_inside_alone",
        "siren": "test_siren_pulls_the_entropy_of_the_uncertain_states_from_both_sides_and_leaves_the_others_alone",
    },
}
"""Term -> the test of its direction, under tests/theory."""

NONE = {
    "rewards": {
        "pear": "it prefers completions whose thinking was sure, whichever tokens these are: which way entropy goes is the policy's",
        "ares": "it pulls the count of uncertain stretches down on easy prompts and up on hard ones, and names no distribution",
        "overlong": f"{PREFERS} short ones",
        "length_cosine": f"{PREFERS} short right and long wrong ones",
        "group_length": f"{PREFERS} those shorter than the others of their prompt",
        "repetition": "it disfavours what a completion has said before, which a policy of high or of low entropy may do",
    },
    "advantages": {
        "passk_best": "it follows the expected best of a group, whose entropy has no direction; see test_theory_estimators",
        "gdpo": "it says which reward counts how much, and the estimator of their sum is grpo's; see test_rl_gdpo",
        "hicra": "it moves credit to the tokens of some phrases, whose share of the entropy has no direction",
        "kl_reward": "its expected gradient is that of a divergence from the reference, like kl_ref's",
    },
    "weights": {
        "icepop": MISMATCH,
        "truncated_is": MISMATCH,
        "sequence_mask": MISMATCH,
        "rejection": MISMATCH,
        "off_policy_mask": "it drops punishments by how far the policy has left their completion, not by what they do to entropy",
        "lopti": "it says when a token is trained, not whether: its two passes together are the plain step",
    },
    "loss": {
        "trl": "computed by TRL; ppo_clip, cispo and sapo are the same formulas",
        "none": "there is no policy loss: the penalties beside it say where entropy goes",
        "gspo": "a clip on whole sequences: it says which step is too long, not which way entropy goes",
        "gmpo": "likewise, by the geometric mean of the ratios",
    },
    "penalties": {
        "truncated_policy": "it makes the gradient that of the truncated policy, whose entropy may go either way; "
        "see test_theory_truncation",
    },
}
"""Term -> why no direction is claimed."""
