"""Advantages that follow how likely, or how certain, a completion was: exact cases beside the recorded ones."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from unit.rl_support import batch_of, on_ranks, rows_of

from entropostat.rl.measured import merged
from entropostat.rl.reduce import LOCAL
from entropostat.rl.registry import ADVANTAGES, WEIGHTS

NAN = math.nan


def advantages(kind, batch, **options):
    return ADVANTAGES.build(kind, options)(batch)[0]


def rewarded(rewards, dtype=torch.float64, **changes):
    rewards = torch.tensor(rewards, dtype=dtype)
    return batch_of(3, len(rewards), 4, rewards=rewards, groups=torch.zeros(len(rewards)).long(), **changes)


# ----------------------------------------------------------------------------------------------------------- maxrl


@pytest.mark.parametrize(
    "rewards, expected",
    [
        ([1, 0, 0, 0], [3, -1, -1, -1]),
        ([1, 1, 1, 0], [1 / 3, 1 / 3, 1 / 3, -1]),
        ([1, NAN, 0, NAN], [1, 0, -1, 0]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([-1, -3, -2, -2], [0, 0, 0, 0]),
        ([1, -1, 0, 0], [0, 0, 0, 0]),
        ([0.1, 0.2, -0.3], [0, 0, 0]),
        ([-0.1, -0.2, 0.3], [0, 0, 0]),
        ([3], [0]),
    ],
)
def test_a_success_weighs_by_the_odds_against_it_and_a_mean_that_is_not_positive_teaches_nothing(rewards, expected):
    found = advantages("maxrl", rewarded(rewards))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("sign", [1, -1])
def test_rewards_that_cancel_up_to_rounding_have_no_mean(sign):
    found = advantages("maxrl", rewarded([sign * x for x in (0.1, 0.7, -0.8)], torch.float32))
    assert (found == 0).all()


def test_the_released_code_turns_the_sign_below_zero_and_leaves_a_single_completion_its_reward():
    found = advantages("maxrl", rewarded([-1, -3]), reference=True, epsilon=1e-6)
    torch.testing.assert_close(found, torch.tensor([-0.5, 0.5], dtype=torch.float64), rtol=1e-5, atol=0)
    assert advantages("maxrl", rewarded([3.0]), reference=True) == 3
    assert (advantages("maxrl", rewarded([1.0, -1.0]), reference=True) == 0).all()


# ---------------------------------------------------------------------------------------------------- unlikeliness


def likely(logps, rewards, **changes):
    logps = torch.tensor(logps, dtype=torch.float64)
    mask = torch.ones_like(logps)
    return rewarded(rewards).set(old_logps=logps, logps=logps, mask=mask, **changes)


def test_of_right_completions_the_likelier_earns_less_and_equal_ones_share_their_rank():
    batch = likely([[-3.0], [-1.0], [-1.0], [-2.0]], [1, 1, 1, 0])
    ranks = torch.tensor([0, 2.5, 2.5, 1], dtype=torch.float64)
    modified = batch.rewards * (1 - 0.4 * ranks / 4)
    expected = (modified - modified.mean()) / (modified.std() + 1e-6)
    torch.testing.assert_close(advantages("unlikeliness", batch, beta=0.4), expected)


def test_without_a_penalty_it_is_grpo():
    batch = batch_of(5)
    found = advantages("unlikeliness", batch, beta=0.0, epsilon=1e-4)
    empty = ~batch.valid.any(1)
    torch.testing.assert_close(found, torch.where(empty, 0.0, advantages("grpo", batch)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("hole", ["no tokens", "no reward"])
def test_a_completion_without_tokens_or_reward_is_not_ranked_and_does_not_move_the_others(hole):
    batch = likely([[-3.0], [-1.0], [-9.0], [-2.0]], [1, 1, 1, 0])
    rest = torch.tensor([0, 1, 3])
    without = advantages("unlikeliness", rows_of(batch, rest))
    if hole == "no tokens":
        batch = batch.set(mask=batch.mask.index_fill(0, torch.tensor([2]), 0.0))
    else:
        batch = batch.set(rewards=batch.rewards.index_fill(0, torch.tensor([2]), NAN))
    found = advantages("unlikeliness", batch)
    assert found[2] == 0
    torch.testing.assert_close(found[rest], without)


def test_a_long_completion_is_unlikely_by_its_sum_and_not_by_its_mean():
    batch = likely([[-1.0, -1.0, -1.0], [-2.0, 0.0, 0.0]], [1, 1])
    batch = batch.set(mask=torch.tensor([[1.0, 1, 1], [1, 0, 0]], dtype=torch.float64))
    by_mean, by_sum = (advantages("unlikeliness", batch, by=by) for by in ("mean", "sum"))
    assert by_mean[0] < 0 < by_sum[0]


# -------------------------------------------------------------------------------------------------------------- ar

P = torch.tensor([[0.1, 0.3], [0.6, 0.95]], dtype=torch.float64)
A = torch.tensor([[1.5, -2.0], [-0.5, 0.7]], dtype=torch.float64)


def probable():
    mask = torch.ones_like(P)
    return rewarded([0.0, 0.0]).set(old_logps=P.log(), logps=P.log(), mask=mask, advantages=A)


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"k": 0.2}, lambda p, a: (0.2 * p + 0.8) * a),
        ({"k": 0.2, "tau": 0.5, "negative": 2.0}, lambda p, a: (0.2 * p + 0.5) * a * (1 if a > 0 else 2)),
        ({"k": 0.2, "side": "positive", "negative": 2.0}, lambda p, a: a * (0.2 * p + 0.8) if a > 0 else 2 * a),
        ({"method": "sigmoid", "k": 5.0}, lambda p, a: 2 / (1 + math.exp(-5 * (p - 0.4))) * a),
        (
            {"method": "sigmoid", "k": 5.0, "side": "negative"},
            lambda p, a: a if a > 0 else 2 / (1 + math.exp(-5 * (p - 0.4))) * a,
        ),
        ({"method": "band", "low": 0.25, "high": 0.6}, lambda p, a: a if 0.25 < p <= 0.6 + 1e-9 else 0),
        ({"imitate": True, "k": 0.3}, lambda p, a: 0.3 * p + 0.7 if a > 0 else 0),
        ({"k": 0.0}, lambda p, a: a),
        ({"k": 4.0}, lambda p, a: 4 * p * a),
    ],
)
def test_each_form_of_reweighting_is_its_formula(options, expected):
    found = advantages("ar", probable(), **options).flatten().tolist()
    assert found == pytest.approx(
        [expected(p, a) for p, a in zip(P.flatten().tolist(), A.flatten().tolist(), strict=True)]
    )


def test_a_band_leaves_out_its_lower_end_and_holds_its_upper_one():
    logps = torch.tensor([[-torch.inf, -1.4, -0.7]], dtype=torch.float64)
    _, lower, upper = logps.exp()[0].tolist()
    batch = rewarded([0.0]).set(
        logps=logps, old_logps=logps, mask=torch.ones_like(logps), advantages=torch.ones_like(logps)
    )
    for low, high, kept in ((0.0, lower, [0, 1, 0]), (lower, upper, [0, 0, 1])):
        assert advantages("ar", batch, method="band", low=low, high=high)[0].tolist() == kept


def test_balanced_negative_advantages_weigh_what_the_positive_ones_do_over_all_ranks():
    batch = batch_of(8)
    cuts = [slice(*ends) for ends in pairwise((0, 2, 5, 6))]
    term = ADVANTAGES.build("ar", {"method": "sigmoid", "side": "negative", "balance": True, "k": 5.0})
    parts = on_ranks([lambda r, s=s: term(rows_of(batch, s).set(reducer=r))[0] for s in cuts])
    found = torch.cat(parts)
    chance = torch.where(batch.valid, batch.old_logps.clamp(max=0), 0.0).exp()
    assert (found < 0).any() and float((chance * found).sum()) == pytest.approx(0, abs=1e-12)
    positive = batch.token_advantages.abs()
    torch.testing.assert_close(term(batch.set(advantages=positive))[0], torch.where(batch.valid, positive, 0.0))


# ------------------------------------------------------------------------------------------------------------ repo


def test_repo_pays_rare_right_tokens_more_blames_rare_wrong_ones_less_and_turns_no_sign():
    batch = probable()
    found = advantages("repo", batch, zeta=0.2)
    assert found[0, 0] == pytest.approx(1.5 * (1 - 0.2 * math.log(0.1)))
    assert found[0, 1] == pytest.approx(-2.0 * (1 + 0.2 * math.log(0.3)))
    heavy, metrics = ADVANTAGES.build("repo", {"zeta": 1.0})(batch)
    assert heavy[0, 1] == 0 and (heavy * A >= 0).all()
    assert merged(metrics, LOCAL)["emptied"] == 0.25


# ------------------------------------------------------------------------------------------------------------ gtpo


def test_the_reward_of_a_token_follows_its_share_of_the_entropy_of_those_alive_beside_it():
    entropy = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.5, 1.0], [0.25, 1.0]], dtype=torch.float64)
    mask = torch.tensor([[1.0, 1], [1, 0], [1, 1], [1, 1]], dtype=torch.float64)
    batch = rewarded([1.0, 1.0, 0.0, 0.0]).set(old_entropy=entropy, mask=mask, logps=mask * 0)
    term = ADVANTAGES.build("gtpo", {"alpha_1": 0.9, "alpha_2": 0.3})
    shaped = term._shaped(batch)
    expected = [[0.9 + 0.3 * 0.5, 0.9 + 0.3], [0.9 + 0.3 * 1.5, 0], [-0.9 - 0.2, -1.2], [-0.9 - 0.4, -1.2]]
    torch.testing.assert_close(shaped.own(shaped.rewards), torch.tensor(expected, dtype=torch.float64))
    right = torch.tensor([1.05, 1.2, 1.35], dtype=torch.float64)
    expected = (right - right.mean()) / right.std(unbiased=False)
    torch.testing.assert_close(term(batch)[0][mask.bool()][:3], expected)


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("normalise", ["apart", "together"])
def test_groups_that_straddle_ranks_of_other_widths_give_what_one_process_does(level, normalise):
    batch = batch_of(8, groups=torch.tensor([0, 1, 0, 1, 1, 0]), rewards=torch.tensor([1.0, 0, 1, 1, 0, 0]).double())
    term = ADVANTAGES.build("gtpo", {"level": level, "normalise": normalise})
    whole = term(batch)[0]
    assert (whole != 0).any()

    def work(rows, width):
        part = rows_of(batch, rows)
        padded = {n: torch.nn.functional.pad(getattr(part, n), (0, width)) for n in ("mask", "logps", "old_entropy")}
        return lambda r: term(part.set(reducer=r, **padded))[0]

    parts = on_ranks([work(slice(0, 1), 0), work(slice(1, 4), 3), work(slice(4, 6), 1)])
    torch.testing.assert_close(torch.cat([part[:, :7] for part in parts]), whole)
    assert all((part[:, 7:] == 0).all() for part in parts)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_tokens_without_entropy_are_rewarded_finitely(level):
    batch = batch_of(3, rewards=torch.tensor([1.0, 1, 0, 0, 1, 0]).double())
    found = advantages("gtpo", batch.set(old_entropy=torch.zeros_like(batch.mask)), level=level)
    assert (found == 0).all()  # all alike
    some = batch.old_entropy * (torch.arange(7) % 2)
    assert advantages("gtpo", batch.set(old_entropy=some), level=level).isfinite().all()


# ----------------------------------------------------------------------------------------------------------- lopti


@pytest.mark.parametrize("order, first", [("low_first", "low"), ("high_first", "high")])
@pytest.mark.parametrize("edge", [{"threshold": 0.4}, {"portion": 0.3}])
def test_two_passes_train_each_token_once_and_the_part_that_is_named_first(order, first, edge):
    batch = batch_of(4)
    term, alone = (WEIGHTS.build("lopti", {**edge, "order": o}) for o in (order, first))
    batch = batch.set(stats=term.prepare(batch))
    passes = [term(batch.set(iteration=i))[0] for i in range(4)]
    assert torch.equal(passes[0] + passes[1], batch.mask)
    assert torch.equal(passes[0], passes[2]) and torch.equal(passes[1], passes[3])
    assert all(torch.equal(alone(batch.set(iteration=i))[0], passes[0]) for i in range(2))
    chances = batch.old_logps.clamp(max=0).exp()
    sides = [chances[passes[i].bool()] for i in ((0, 1) if first == "low" else (1, 0))]
    assert sides[0].max() < batch.stats["threshold"] <= sides[1].min()
    if "portion" in edge:
        assert float(passes[0].sum() / batch.count) == pytest.approx(0.3 if first == "low" else 0.7, abs=0.05)
