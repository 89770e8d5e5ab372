"""The direction in which each weight, penalty and loss moves entropy, in exact expectation on drawn policies.

Each beside the same step without it. Where a claim holds only under a condition, the test constructs the condition and shows the opposite without it.
"""

from __future__ import annotations

import pytest
import torch
from theory.tabular import SEEDS, Case, draw, entropies, gain, pull, slopes, tokens

from entropostat.rl.batch import Extra
from entropostat.rl.registry import PENALTIES

MIDDLE = [24, 16, 8, 6, 4, 2]
"""The second action is likelier than exp(-H), but only just: to reinforce it raises entropy."""


def built(*counts):
    """Policies by their counts; the test gives its own advantages."""
    return Case(torch.tensor(counts), torch.zeros(len(counts), len(counts[0]), dtype=torch.float64))


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_the_slope_is_that_of_a_small_step_and_the_sum_of_what_its_tokens_pull(seed):
    case = draw(seed)
    slope = slopes(case)
    torch.testing.assert_close(slope, (case.p * case.centred * pull(case.logits)).sum(1) / 3, rtol=1e-9, atol=1e-12)
    z = case.logits + 1e-6 * case.p * case.centred / 3
    torch.testing.assert_close((entropies(z) - entropies(case.logits)) / 1e-6, slope, rtol=1e-4, atol=1e-7)


# ------------------------------------------------------------------------------------------------------- weights


def test_clip_v_raises_entropy_in_every_state_whatever_it_drops():
    acted = 0
    for seed in SEEDS:
        added = gain(draw(seed), weights=[("clip_v", {"mu": 0.5, "max_fraction": 1.0})])
        assert (added >= -1e-15).all()
        acted += bool((added > 1e-4).any())
    assert acted > 30


def discriminator(case):
    """S of each completion and its mean and deviation over all."""
    s = case.p * (entropies(case.logits).unsqueeze(1) + case.logits)
    every = s[case.all()]
    return s, every.mean(), every.std(unbiased=False)


def test_clip_b_raises_entropy_in_every_state_where_its_threshold_is_below_zero():
    acted = 0
    for seed in SEEDS:
        case = draw(seed)
        _, mean, std = discriminator(case)
        added = gain(case, weights=[("clip_b", {"mu": float(1.001 * mean / std)})])
        assert (added >= -1e-15).all()
        acted += bool((added > 1e-4).any())
    assert acted > 30


def test_clip_b_can_lower_entropy_where_its_threshold_is_above_zero_which_clip_v_never_does():
    """The mean of S is one number for all states: here it lies above that of the likeliest token of a flat state, whose
    punishment would have raised entropy.
    """
    case = built([30, 6, 6, 6, 6, 6], [14, 10, 9, 9, 9, 9])
    s, mean, _ = discriminator(case)
    assert pull(case.logits)[1, 0] < 0 < s[1, 0] < mean
    values = torch.zeros(2, 6, dtype=torch.float64)
    values[1, 0] = -1.0
    assert gain(case, values=values, weights=[("clip_b", {"mu": 0.0})])[1] < -1e-3
    assert gain(case, values=values, weights=[("clip_v", {"mu": 0.0, "max_fraction": 1.0})])[1] == 0


def falling(states=1):
    """Cases in which the plain policy gradient lowers entropy."""
    cases = [draw(seed, states) for seed in SEEDS]
    return [case for case in cases if slopes(case).sum() < -1e-3]


def covariance(case):
    """(S, V), means over all states, as the terms take them."""
    every = case.all()
    return (case.centred - case.centred[every].mean()) * (case.logits - case.logits[every].mean())


@pytest.mark.parametrize("states", [1, 3])
def test_clip_cov_slows_the_fall_of_entropy_where_it_takes_out_the_tail_of_the_covariance(states):
    assert len(falling(states)) > 10
    for case in falling(states):
        tail = {"low": float(covariance(case).max()) / 2, "high": 1e9, "fraction": 0.5}
        assert gain(case, weights=[("clip_cov", tail)]).sum() > 1e-5


def test_clip_cov_can_speed_the_fall_where_its_band_leaves_out_the_tail():
    """A rewarded token just above exp(-H) has a positive covariance, and yet raises entropy."""
    case, values = built(MIDDLE), torch.tensor([[1.0, 0.2, *[-1.36] * 4]], dtype=torch.float64)
    assert slopes(case, values=values)[0] < -1e-2 and pull(case.logits)[0, 1] > 0
    band = ("clip_cov", {"low": 0.01, "high": 0.1, "fraction": 0.5})
    assert gain(case, values=values, weights=[band])[0] < -1e-3


@pytest.mark.parametrize("omega", ["theorem", "released"])
def test_steer_slows_entropy_where_all_tokens_of_a_state_pull_one_way(omega):
    for seed in SEEDS:
        case = draw(seed)
        agreed = torch.sign(pull(case.logits))  # what lowers entropy is punished: then every token raises it
        weights = [("steer", {"omega": omega, "lambda_min": 0.5})]
        plain, slow = (slopes(case, values=agreed, weights=w) for w in ([], weights))
        assert (plain > 0).all() and (slow > 0).all() and (slow < plain).all()


def test_steer_can_speed_entropy_where_tokens_pull_against_each_other():
    """It slows the rewarded rare token most, which held the likely one in check."""
    case, values = built(MIDDLE), torch.tensor([[1.0, 0, 0, 0, 0, 9.3]], dtype=torch.float64)
    plain, steered = (slopes(case, values=values, weights=w) for w in ([], [("steer", {"lambda_min": 0.3})]))
    assert steered[0] < 2 * plain[0] < 0


def test_high_entropy_stops_the_decided_states_and_has_no_direction_of_its_own():
    added = []
    for seed in SEEDS:
        case = draw(seed)
        plain, masked = slopes(case), slopes(case, weights=[("high_entropy", {"fraction": 0.3})])
        first = int(entropies(case.logits).argmax())
        assert masked[first] == plain[first] and masked.count_nonzero() == 1
        added.append(float((masked - plain).sum()))
    assert min(added) < -1e-3 < 1e-3 < max(added)


def test_entropy_tilt_raises_entropy_by_a_positive_gain_and_lowers_it_by_a_negative_one():
    for seed in SEEDS:
        gained = [
            float(gain(draw(seed), weights=[("entropy_tilt", {"gain": g})]).sum()) for g in (-2.0, -1.0, 1.0, 2.0)
        ]
        assert max(gained[:2]) < -1e-4 and min(gained[2:]) > 1e-4


# ----------------------------------------------------------------------------------------------------- penalties


@pytest.mark.parametrize("kind", ["entropy_bonus", "renyi", "tsallis"])
@pytest.mark.parametrize("seed", SEEDS[:10])
def test_a_bonus_raises_the_shannon_entropy_of_every_state_and_a_negative_one_lowers_it(kind, seed):
    """Of order 2, too: p and log p are both larger on likelier tokens, also under p squared."""
    case = draw(seed)
    name, options = ("entropy_bonus", {}) if kind == "entropy_bonus" else ("renyi_bonus", {"family": kind})
    raised, lowered = (gain(case, penalties=[(name, options | {"coef": c})]) for c in (0.1, -0.1))
    assert (raised > 1e-5).all()
    torch.testing.assert_close(lowered, -raised)


@pytest.mark.parametrize("distance", ["abs", "k2", "k3"])
def test_kl_cov_slows_the_fall_of_entropy_from_the_second_update_on_and_does_nothing_in_the_first(distance):
    assert len(falling()) > 10
    for case in falling():
        tail = [("kl_cov", {"fraction": 0.3, "coef": 1.0, "distance": distance})]
        moved = case.logits + 0.5 * case.p * case.centred
        assert gain(case, penalties=tail).abs().sum() < 1e-15
        assert gain(case, at=moved, penalties=tail).sum() > 1e-5


def test_lp_reg_over_the_vocabulary_lowers_entropy_as_long_as_the_policy_has_not_moved():
    """Its first step is towards the filtered policy, and the mass of the noise goes to the likely. What it claims is to bring
    back a kept token that punishment has made rarer, which only a later step can.
    """
    acted = 0
    for seed in SEEDS:
        case = draw(seed)
        every = {"rho": 1.0, "proxy": "current", "estimator": "full"}
        added = gain(case, values=torch.full_like(case.reward, -1.0), penalties=[("lp_reg", every)])
        assert (added <= 1e-15).all()
        acted += bool((added < -1e-6).any())
    assert acted > 30


def imitation(case, temperature, right):
    """(S,) what AEPO adds to the slopes of the policy that, sampled at this temperature, gives the case's completions."""
    policy = temperature * case.logits
    z, (s, a) = policy.clone().requires_grad_(), case.all()
    logps = z.log_softmax(1)[s, a].unsqueeze(1)
    extra = Extra(logps, torch.ones_like(logps), right[s, a], torch.tensor(float(len(s))))
    loss, _ = PENALTIES.build("aepo", {"coef": 1.0})(tokens(case, policy, (s, a)).set(extra=extra))
    (up,) = torch.autograd.grad(entropies(z).sum(), z)
    return -(torch.autograd.grad(loss, z)[0] * up).sum(1)


def test_aepo_raises_entropy_by_warm_samples_below_its_target_and_lowers_it_by_cool_ones_above_where_all_are_right():
    term = PENALTIES.build("aepo", {})
    below, above = (term._temperature(term.target + d) for d in (-0.1, 0.1))
    for seed in SEEDS:
        case = draw(seed)
        warm, cool = (imitation(case, t, torch.ones_like(case.reward)) for t in (below, above))
        assert (warm > 1e-6).all() and (cool < -1e-6).all()


def test_aepo_goes_where_the_right_answers_are_if_only_some_are_right():
    cases = [draw(seed, right=True) for seed in SEEDS]
    moves = [value for case in cases for value in imitation(case, 1.2, case.reward).tolist()]
    assert min(moves) < -1e-3 < 1e-3 < max(moves)


# -------------------------------------------------------------------------------------------------------- losses

KEEPING = {"cispo": {}, "sapo": {}, "ce_gppo": {}, "gpg": {}, "unclipped": {}, "ppo_clip": {"epsilon_high": 1.5}}
KEEPING |= {"dro": {}}
"""Losses under which a rewarded token keeps a gradient above a band of 0.2."""


def beyond(by, size):
    """Policies that have moved one action out of the band, with an advantage there alone, and what that action pulls."""
    for seed in SEEDS[:15]:
        case = draw(seed, states=1)
        for action in range(6):
            at, values = case.logits.clone(), torch.zeros_like(case.reward)
            at[0, action] += by
            values[0, action] = size
            if abs(float(at.softmax(1)[0, action] / case.p[0, action]) - 1) > 0.2:
                yield case, {"at": at, "values": values}, float(pull(at)[0, action])


@pytest.mark.parametrize("kind, options", KEEPING.items(), ids=KEEPING)
def test_without_the_upper_clip_a_rewarded_token_beyond_it_raises_entropy_if_it_is_rare_and_else_lowers_it(
    kind, options
):
    signs = []
    for case, far, sign in beyond(0.5, 1.0):
        assert slopes(case, loss=("ppo_clip", {}), **far) == 0
        assert slopes(case, loss=(kind, options), **far) * sign > 0
        signs.append(sign)
    assert min(signs) < -1e-2 < 1e-2 < max(signs)


def moved_by(case, far):
    """How much likelier the one action with an advantage has become."""
    chosen = far["values"][0] != 0
    return float((far["at"].softmax(1) - case.p)[0, chosen])


def test_dppo_keeps_the_rare_rewarded_tokens_that_the_ratio_clip_takes_out_and_drops_the_likely():
    kept, dropped = [], []
    for case, far, sign in beyond(0.5, 1.0):
        found = float(slopes(case, loss=("dppo", {"high": 0.05}), **far))
        if moved_by(case, far) > 0.05:
            assert found == 0
            dropped.append(sign)
        else:
            assert found * sign > 0
            kept.append(sign)
    assert min(kept) > 0, "what is kept is rare, and raises entropy"
    assert min(dropped) < -1e-2


def test_ipo_drops_a_token_that_has_moved_whichever_way_it_would_go_and_dppo_only_one_that_moves_away():
    signs = []
    for case, far, sign in beyond(-1.0, 1.0):  # a rewarded token that has become rarer: its gradient brings it back
        found, others = (slopes(case, loss=loss, **far) for loss in (("ipo", {"square": 0.0}), ("dppo", {"high": 0.1})))
        assert others * sign > 0
        assert found == 0 if moved_by(case, far) < -0.1 else found * sign > 0
        signs.append(bool(found))
        pulled = slopes(case, loss=("ipo", {"square": 1.0, "threshold": 0.0}), **far)
        assert pulled != 0, "the square pulls on what is dropped"
    assert any(signs) and not all(signs)


def test_ce_gppos_lower_handle_lowers_entropy_by_the_rare_tokens_that_it_punishes_and_raises_it_by_the_likely():
    signs = []
    for case, far, sign in beyond(-1.0, -1.0):
        off, half, full = (slopes(case, loss=("ce_gppo", {"beta_low": b}), **far) for b in (0.0, 0.5, 1.0))
        assert off == 0 and half * sign < 0
        torch.testing.assert_close(full, 2 * half)
        signs.append(sign)
    assert min(signs) < -1e-2 < 1e-2 < max(signs)


def test_archer_raises_entropy_by_the_rare_rewarded_tokens_of_uncertain_states_alone():
    for seed in SEEDS:
        case = draw(seed)
        at, values = case.logits.clone(), torch.zeros_like(case.reward)
        for state, action in enumerate(case.p.argmin(1).tolist()):
            at[state, action] += 0.35
            values[state, action] = 1.0
        first = int(entropies(at).argmax())
        slope = slopes(case, at=at, values=values, shape=(1, -1), loss=("archer", {"quantile": 0.6}))
        assert slope[first] > 1e-6 and slope.count_nonzero() == 1
