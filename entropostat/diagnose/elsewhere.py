"""What to change in another trainer's own words, for runs that are not ours."""

from __future__ import annotations

from collections.abc import Mapping

TRL, VERL = "TRL", "verl"
"""As ``readers.names`` spells them."""

STEPS = {
    TRL: "GRPOConfig(learning_rate=a third of it, max_grad_norm=0.5)",
    VERL: "actor_rollout_ref.actor.optim.lr: a third of it; actor_rollout_ref.actor.grad_clip=0.5",
}
ANCHOR = {
    TRL: "GRPOConfig(beta=0.05)",
    VERL: "actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0.05",
}
HOTTER = {
    TRL: "GRPOConfig(num_generations=16, temperature=1.2)",
    VERL: "actor_rollout_ref.rollout.n=16 actor_rollout_ref.rollout.temperature=1.2",
}


def _both(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    return {trainer: f"{one[trainer]}; {other[trainer]}" for trainer in one}


WORDS: Mapping[str, Mapping[str, str]] = {
    "collapse": {
        TRL: "GRPOConfig(epsilon_high=0.28), or use_adaptive_entropy=True with entropy_target at half of the start",
        VERL: "actor_rollout_ref.actor.clip_ratio_high=0.28, or actor_rollout_ref.actor.policy_loss.loss_mode=clip_cov",
    },
    "explosion": _both(ANCHOR, STEPS),
    "reward-lost": _both(ANCHOR, STEPS),
    "kl-blow-up": _both(ANCHOR, STEPS),
    "gradient-blow-up": STEPS,
    "entropy-blip": STEPS,
    "non-finite": STEPS,
    "truncation": {
        TRL: "GRPOConfig(max_completion_length=twice of it, mask_truncated_completions=True), and get_soft_overlong_punishment as a reward",
        VERL: "data.max_response_length: twice of it; reward_model.overlong_buffer.enable=True",
    },
    "dead-groups": {
        TRL: "other prompts (filter those that are always or never solved), or GRPOConfig(num_generations=16)",
        VERL: "algorithm.filter_groups.enable=True, or actor_rollout_ref.rollout.n=16",
    },
    "constant-reward": HOTTER,
    "reward-gap": ANCHOR,
    "length-hacking": {
        TRL: 'GRPOConfig(loss_type="dr_grpo")',
        VERL: "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm",
    },
    "sampler-mismatch": {
        TRL: "GRPOConfig(top_p=1.0, top_k=0, vllm_importance_sampling_correction=True)",
        VERL: "actor_rollout_ref.rollout.top_p=1 actor_rollout_ref.rollout.top_k=-1; algorithm.rollout_correction.rollout_is=token",
    },
}
"""Rule -> trainer -> what to change there. ms-swift takes TRL's names as they are."""

LIKE = {"ms-swift": TRL}


def advice(rule: str, trainer: str) -> str:
    """Empty where nothing is known for this trainer."""
    return WORDS.get(rule, {}).get(LIKE.get(trainer, trainer), "")
