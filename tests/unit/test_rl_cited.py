"""Exact numbers of FIPO, ASPO, BAPO and entropy smoothing, and what their references get wrong."""

from __future__ import annotations

import math

import pytest
import torch

from entropostat.rl.batch import TokenBatch
from entropostat.rl.losses.bapo import rising
from entropostat.rl.objective import Objective
from entropostat.rl.registry import CONTROLLERS, LOSSES, PENALTIES, WEIGHTS

NAN = float("nan")


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def stepped(ratio, advantages, mask=None, **changes):
    """Tokens of old log-prob -1 that have since moved by these ratios."""
    mask = torch.ones_like(ratio) if mask is None else mask
    logps = torch.where(mask.bool(), ratio.log() - 1, 0.0).requires_grad_()
    return TokenBatch(logps, mask, advantages=advantages, old_logps=-mask, **changes)


# ----------------------------------------------------------------------------------------------------------- FIPO


def fipo(batch, **options):
    weight, metrics = WEIGHTS.build("fipo", {"half_life": 1.0, "safety": None} | options)(batch.detached())
    return weight, metrics


def test_a_later_token_counts_half_for_each_half_life_between_and_a_masked_one_is_silent_and_counts_in_the_distance():
    # d = 0.1, (masked), 0.4: F_0 = 0.1 + 0.4 / 4 = 0.2      F_2 = 0.4
    batch = stepped(rows([0.1, 9.0, 0.4]).exp(), rows(1.0), rows([1, 0, 1]))
    weight, metrics = fipo(batch, clip_range=1.0)
    torch.testing.assert_close(weight, rows([math.exp(0.2), 1, math.exp(0.4)]))
    assert float(metrics["future_kl"]) == pytest.approx(0.3)
    torch.testing.assert_close(fipo(batch, clip_range=1.0, half_life=2.0)[0][0, 0].log(), rows(0.1 + 0.4 / 2)[0])


def test_the_weight_stays_within_its_range_above_one_or_on_both_sides():
    batch = stepped(rows([3.0, 0.2]), rows(1.0))
    torch.testing.assert_close(fipo(batch)[0], rows([1.2, 1.0]))
    torch.testing.assert_close(fipo(batch, high_only=False)[0], rows([1.2, 0.8]))
    torch.testing.assert_close(fipo(batch, clip_range=0.0)[0], rows([1.0, 1.0]))
    torch.testing.assert_close(fipo(batch, clip_range=None)[0], rows([3 * 0.2**0.5, 0.2]))


def test_a_punished_token_far_above_its_old_probability_counts_at_most_once():
    batch = stepped(rows([5.0, 5.0], [5.0, 5.0]), rows(-1.0, 1.0))
    weight, metrics = fipo(batch, safety=4.0)
    torch.testing.assert_close(weight, rows([1.0, 1.0], [1.2, 1.2]))
    assert float(metrics["safe_fraction"]) == 0.5
    low = stepped(rows([5.0, 1e-9]), rows(-1.0))
    torch.testing.assert_close(fipo(low, safety=4.0, high_only=False, clip_range=0.5)[0], rows([0.8, 0.5]))


def test_a_token_beyond_delta_adds_nothing_to_itself_or_to_what_is_before_it():
    batch = stepped(rows([1.1, 4.0]), rows(1.0))
    torch.testing.assert_close(fipo(batch, delta=3.0, clip_range=None)[0], rows([1.1, 1.0]))
    torch.testing.assert_close(fipo(batch, delta=5.0, clip_range=None)[0], rows([1.1 * 2, 4.0]))


def test_without_a_range_the_weight_of_a_long_answer_is_finite_and_so_is_its_product_with_an_advantage_of_zero():
    batch = stepped(torch.full((1, 400), math.exp(3.0)), rows(0.0).float())
    weight, _ = fipo(batch, clip_range=None, half_life=1e4)
    assert weight.isfinite().all() and weight.max() == pytest.approx(math.exp(20.0))
    spec = {"loss": ("ppo_clip", "ppo_clip", {}), "weights": [("fipo", "fipo", {"clip_range": None, "half_life": 1e4})]}
    assert (Objective.build(spec).token_loss(batch)[0] == 0).all()


# ----------------------------------------------------------------------------------------------------------- ASPO


def aspo(batch, **options):
    loss, metrics = LOSSES.build("aspo", options)(batch)
    return loss.detach(), torch.autograd.grad(loss.sum(), batch.logps)[0], metrics


def test_rewarded_tokens_weigh_one_over_their_ratio_and_none_above_the_bound():
    batch = stepped(rows([0.5, 1.1, 1.3]), rows(2.0), entropy=torch.ones(1, 3, dtype=torch.float64))
    loss, gradient, metrics = aspo(batch)
    torch.testing.assert_close(loss, rows([-2 / 0.5, -2 / 1.1, -2 / 1.2]))
    torch.testing.assert_close(gradient, rows([-2 / 0.5, -2 / 1.1, 0]))
    assert float(metrics["clip_fraction"]) == pytest.approx(1 / 3)


def test_punished_tokens_weigh_their_ratio_and_none_below_the_bound():
    batch = stepped(rows([0.5, 1.1, 2.0]), rows(-2.0), entropy=torch.ones(1, 3, dtype=torch.float64))
    loss, gradient, _ = aspo(batch)
    torch.testing.assert_close(loss, rows([2 * 0.8, 2 * 1.1, 2 * 2.0]))
    torch.testing.assert_close(gradient, rows([0, 2 * 1.1, 2 * 2.0]))


@pytest.mark.parametrize("size, ratio, cap", [(1.0, 0.2, "cap"), (-1.0, 5.0, "dual")])
def test_beyond_either_cap_a_constant_weight_remains_where_ppos_dual_clip_leaves_none(size, ratio, cap):
    batch = stepped(rows([ratio]), rows(size), entropy=rows([1.0]))
    loss, gradient, metrics = aspo(batch)
    torch.testing.assert_close(gradient, rows([-3 * size]))
    torch.testing.assert_close(loss, -3 * size * batch.logps.detach())
    assert float(metrics[f"{cap}_fraction"]) == 1
    uncapped = aspo(batch, **{cap: None})[1]
    torch.testing.assert_close(uncapped, rows([-5 * size]))


def test_each_side_has_its_own_room_for_the_uncertain_tokens():
    entropy = rows([0, 1, 2, 3, 4.0], [0, 1, 2, 3, 4.0])
    room = {"epsilon_know": 0.1, "epsilon_reason": 0.3, "epsilon_know_high": 0.5, "epsilon_reason_high": 0.7}
    up, down = [1.4, 1.6, 1.6, 1.6, 1.6], [0.95, 0.8, 0.8, 0.8, 0.8]
    batch = stepped(rows(up, down), rows(1.0, -1.0), entropy=entropy)
    gradient = aspo(batch, quantile=0.8, **room)[1]
    assert torch.equal(gradient != 0, torch.tensor([[True, False, False, False, True]] * 2))


def test_a_sequence_without_tokens_has_no_quantile_and_no_part_in_the_loss():
    batch = stepped(
        rows([1.1, 0.9], [1.1, 0.9]), rows(1.0, 1.0), rows([1, 1], [0, 0]), entropy=rows([1, 2.0], [NAN, NAN])
    )
    loss, gradient, metrics = aspo(batch)
    assert loss.isfinite().all() and (gradient[1] == 0).all()
    assert all(float(x) == float(x) for x in metrics.values())


# ----------------------------------------------------------------------------------------------------------- BAPO


def bapo(batch, **options):
    o = Objective.build({"loss": ("bapo", "bapo", options)})
    ready = o.for_loss(batch, {})
    loss, metrics = o.surrogate(ready)
    found = [round(float(ready.stats[key]), 9) for key in ("lower", "upper")]
    return found, loss, metrics, ready


def parts(batch, lower, upper):
    """The quotient at these bounds, token by token."""
    a, r = batch.token_advantages, batch.ratio.detach()
    contributions = torch.where(a >= 0, r.clamp(max=upper), r.clamp(min=lower)) * a
    negative = -contributions.clamp(max=0).sum()
    return contributions.clamp(min=0).sum() / negative if negative > 0 else torch.tensor(math.inf)


@pytest.mark.parametrize("target", [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.3, 9.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_bounds_are_the_first_at_which_the_target_is_met_the_lower_one_moving_first(seed, target):
    g = torch.Generator().manual_seed(seed)
    ratio = (0.6 * torch.randn(5, 8, generator=g, dtype=torch.float64)).exp()
    batch = stepped(ratio, torch.randn(5, generator=g, dtype=torch.float64))
    lowers, uppers = [0.6, 0.65, 0.7, 0.75, 0.8], [1.2 + 0.05 * i for i in range(17)]
    pairs = [(low, 1.2) for low in lowers] + [(0.8, high) for high in uppers[1:]]
    want = next((pair for pair in pairs if parts(batch, *pair) >= target), pairs[-1])
    assert bapo(batch, target=target)[0] == pytest.approx(want)


def test_a_target_that_only_rounding_misses_is_met_so_that_an_unstepped_batch_keeps_its_bounds():
    a = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float32)
    batch = stepped(torch.ones(3, 1), a)
    assert float(a.clamp(min=0).double().sum() / -a.clamp(max=0).double().sum()) != 1
    for sign in (1, -1):
        assert bapo(batch.set(advantages=sign * a))[0] == pytest.approx([0.6, 1.2])
    assert bapo(batch.set(advantages=a * torch.tensor([1.0, 1.0, 1.001])))[0] == pytest.approx([0.8, 2.0])


def test_with_one_sign_of_advantage_there_is_nothing_to_balance():
    up, down = (bapo(stepped(rows([0.9, 1.1]), rows(size))) for size in (1.0, -1.0))
    assert up[0] == [0.6, 1.2] and float(up[2]["bapo/positive_share"]) == 1
    assert down[0] == [0.8, 2.0] and float(down[2]["bapo/positive_share"]) == 0


def test_at_the_bounds_that_were_found_the_loss_is_that_of_ppo_and_counts_its_tokens_there():
    g = torch.Generator().manual_seed(1)
    batch = stepped(torch.randn(6, 9, generator=g, dtype=torch.float64).exp(), torch.randn(6, generator=g).double())
    for target in (0.0, 0.8, 9.0):
        (low, high), loss, metrics, ready = bapo(batch, target=target)
        same = {"epsilon": 1 - low, "epsilon_high": high - 1, "dual": 3.0}
        want, counted = LOSSES.build("ppo_clip", same)(batch)
        torch.testing.assert_close(loss, want)
        assert float(metrics["bapo/clip_fraction"]) == pytest.approx(float(counted["clip_fraction"]))
        term = LOSSES.build("bapo", {"target": target})
        for mine, theirs in zip(term.bounded(ready), LOSSES.build("ppo_clip", same).bounded(batch), strict=True):
            assert torch.equal(mine, theirs)


def test_a_bound_rises_by_whole_steps_and_ends_exactly_at_its_end():
    assert rising(0.6, 0.8, 0.15) == pytest.approx([0.6, 0.75, 0.8])
    assert rising(0.8, 0.8, 0.05) == [0.8] == rising(0.8, 0.6, 0.05)
    assert rising(1.2, 2.0, 0.1)[-1] == 2.0


# ----------------------------------------------------------------------------------------------------------- smoothing


def smooth(entropy, mask=None, **options):
    mask = torch.ones_like(entropy) if mask is None else mask
    batch = TokenBatch(logps=-mask, mask=mask, entropy=entropy.clone().requires_grad_())
    value, metrics = PENALTIES.build("ent_smooth", {"history": 1.0, "coef": 0.5} | options)(batch)
    (gradient,) = torch.autograd.grad(value.sum() + 0 * batch.entropy.nan_to_num().sum(), batch.entropy)
    return value.detach(), gradient, metrics


def test_outside_of_the_band_the_penalty_is_the_distance_and_its_force_points_inside():
    value, gradient, metrics = smooth(rows([0.3, 0.9, 1.1, 2.2]))
    torch.testing.assert_close(value, 0.5 * rows([0.5, 0, 0, 1.0]))
    torch.testing.assert_close(gradient, 0.5 * rows([-1.0, 0, 0, 1.0]))
    shares = [float(metrics[key]) for key in ("below", "above", "distance")]
    assert shares == pytest.approx([0.25, 0.25, 0.375])


def test_a_sequence_is_held_by_the_mean_of_its_own_tokens_whatever_its_length():
    entropy, mask = rows([0.2, 0.4, 99.0], [1.0, 1.0, 1.0]), rows([1, 1, 0], [1, 1, 1])
    value, gradient, _ = smooth(entropy, mask, per="sequence")
    torch.testing.assert_close(value, 0.5 * rows([0.5, 0.5, 0], [0, 0, 0]))
    torch.testing.assert_close(gradient, 0.5 * rows([-1.0, -1.0, 0], [0, 0, 0]))


def test_without_a_history_there_is_no_penalty_where_the_released_code_penalises_everything():
    entropy = rows([0.3, 1.0])
    assert (smooth(entropy, history=0.0)[0] == 0).all()
    torch.testing.assert_close(smooth(entropy, history=0.0, reference=True)[0], rows([0.05, 0.05]))


def test_the_released_code_has_a_constant_outside_no_force_and_a_mean_over_padding():
    value, gradient, _ = smooth(rows([0.3, 0.9, 2.2]), reference=True)
    torch.testing.assert_close(value, rows([0.05, 0, 0.05]))
    assert (gradient == 0).all()
    padded, mask = rows([1.0, 1.0, 0.0]), rows([1, 1, 0])
    assert (smooth(padded, mask, per="sequence")[0] == 0).all()
    torch.testing.assert_close(smooth(padded, mask, per="sequence", reference=True)[0], rows([0.05, 0.05, 0]))


def test_the_average_is_the_mean_of_what_was_measured_and_waits_through_what_was_not():
    controller = CONTROLLERS.build("average", {"signal": "s"})
    state, outputs = controller.init(), []
    assert state["output"] == 0
    for value in (4.0, None, 1.0, NAN, 1.0):
        state, output = controller.update(state, {} if value is None else {"s": value})
        outputs.append(output)
    assert outputs == pytest.approx([4.0, 4.0, 2.5, 2.5, 2.0])


# ----------------------------------------------------------------------------------------------------------- ERA


def era(entropy, advantages, mask=None, **options):
    """The statistics of a generation."""
    mask = torch.ones_like(entropy) if mask is None else mask
    cold, hot = torch.full_like(entropy, 3.0), torch.full_like(entropy, 2.0)
    batch = TokenBatch(
        -mask, mask, advantages=advantages, old_logps=-mask, old_entropy=entropy, logit=mask, lse={0.5: cold, 2.0: hot}
    )
    term = LOSSES.build("era", options)
    return term.prepare(batch), term._height(batch)[:, 0]


def test_a_completion_is_judged_by_the_fifth_of_its_tokens_that_is_least_certain_and_by_one_at_least():
    entropy = torch.stack([torch.arange(12.0), torch.arange(12.0)]).double()
    mask = torch.ones_like(entropy)
    mask[1, 4:] = 0  # four tokens: the largest of them is 3
    assert era(entropy, rows(1.0, 1.0), mask)[1].tolist() == [(11 + 10) / 2, 3.0]


def test_rewarded_tokens_of_certain_completions_are_sharpened_and_of_uncertain_ones_flattened():
    entropy, a = rows([0.1, 0.2], [1.0, 1.0], [4.0, 4.0]), rows([1.0, -1.0], [1.0, 1.0], [0.5, 0.0])
    stats, _ = era(entropy, a)
    assert stats["sharp"].tolist() == [[True, False], [False, False], [False, False]]
    assert stats["flat"].tolist() == [[False, False], [False, False], [True, False]]
    # logit 1: 1 / 0.5 - 3 and 1 / 2 - 2; the old log-prob elsewhere.
    assert stats["old_logps"].tolist() == [[-1.0, -1.0], [-1.0, -1.0], [-1.5, -1.0]]
    assert stats["scale"].flatten().tolist() == [0.5, 1.0, 2.0]


def test_the_released_code_leaves_the_logits_of_small_rewards_alone():
    entropy = rows([0.1], [0.1], [0.1])
    assert era(entropy, rows(0.9, 1.0, -2.0))[0]["sharp"].flatten().tolist() == [True, True, False]
    assert era(entropy, rows(0.9, 1.0, -2.0), reference=True)[0]["sharp"].flatten().tolist() == [False, True, False]


def test_a_completion_without_tokens_is_neither_certain_nor_uncertain():
    stats, height = era(rows([0.1, 0.1], [NAN, NAN]), rows(1.0, 1.0), rows([1, 1], [0, 0]))
    assert math.isnan(height[1]) and not stats["sharp"][1].any() and not stats["flat"][1].any()


def test_without_its_two_temperatures_era_says_which_are_missing():
    with pytest.raises(ValueError, match=r"era reads batch\.lse at 0\.25 and 4"):
        era(rows([0.1]), rows(1.0), k=4.0)
