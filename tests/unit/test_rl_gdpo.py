"""GDPO by hand: each reward normalised in its group, summed by weight, and normalised over the generation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from unit.rl_support import on_ranks, rows_of

from entropostat.rl.batch import TokenBatch
from entropostat.rl.registry import ADVANTAGES

NAN = math.nan
CLOSE = {"rtol": 1e-7, "atol": 1e-9}
"""The correction n / (n - 1) of a deviation is a quotient in float32, as TRL's."""


def batch(parts: list[list[float]], weights: tuple[float, ...], size: int = 2, **changes: Any) -> TokenBatch:
    table = torch.tensor(parts, dtype=torch.float64)
    rewards = (table * torch.tensor(weights)).nansum(1)
    rewards[table.isnan().all(1)] = NAN
    rows = len(parts)
    nothing = torch.zeros(rows, 1, dtype=torch.float64)
    made = TokenBatch(
        nothing, torch.ones_like(nothing), rewards=rewards, reward_parts=table, reward_weights=weights,
        groups=torch.arange(rows) // size, uids=torch.arange(rows),
    )  # fmt: skip
    return made.set(**changes)


def advantages(b: TokenBatch, **options: Any) -> Tensor:
    return ADVANTAGES.build("gdpo", options)(b)[0]


def by_hand(parts: list[list[float]], weights: tuple[float, ...], size: int, epsilon: float = 1e-4) -> list[float]:
    """In plain Python, over the values that are there."""

    def moments(values: list[float]) -> tuple[float, float]:
        there = [v for v in values if not math.isnan(v)]
        if not there:
            return NAN, NAN
        mean = sum(there) / len(there)
        return mean, math.sqrt(sum((v - mean) ** 2 for v in there) / max(len(there) - 1, 1))

    totals = []
    for i, row in enumerate(parts):
        group = parts[i // size * size : i // size * size + size]
        total, any_there = 0.0, False
        for k, value in enumerate(row):
            mean, std = moments([other[k] for other in group])
            if not math.isnan(value):
                total, any_there = total + weights[k] * (value - mean) / (std + epsilon), True
        totals.append(total if any_there else NAN)
    mean, std = moments(totals)
    return [0.0 if math.isnan(t) else (t - mean) / (std + epsilon) for t in totals]


CASES: dict[str, tuple[list[list[float]], tuple[float, ...], int]] = {
    "two rewards": ([[1, 0.1], [0, 0.4], [1, 0.2], [1, 0.9]], (1.0, 0.5), 2),
    "a missing one": ([[1, NAN], [0, 0.4], [NAN, 0.2], [1, 0.9], [0, 0.1], [1, NAN]], (1.0, 2.0), 3),
    "a completion that nothing scored": ([[NAN, NAN], [0, 0.4], [1, 0.2], [1, 0.9], [0, 0.1], [1, 0]], (1.0, 1.0), 3),
    "a reward that scores one of a group": ([[NAN, 3], [1, 0.4], [NAN, 0.2], [0, 0.9]], (1.0, 1.0), 2),
    "a flat reward": ([[1, 5], [0, 5], [1, 5], [0, 5]], (1.0, 1.0), 2),
    "a negative weight": ([[1, 0.3], [0, 0.1], [0, 0.2], [1, 0.6]], (1.0, -1.0), 2),
}


@pytest.mark.parametrize("case", CASES)
def test_advantages_are_those_that_one_works_out_by_hand(case):
    parts, weights, size = CASES[case]
    got = advantages(batch(parts, weights, size))
    want = torch.tensor(by_hand(parts, weights, size), dtype=torch.float64)
    torch.testing.assert_close(got, want, **CLOSE)
    assert (got != 0).any()


def test_a_worked_example():
    # Group one: the first reward tells its two apart, the second is flat. Group two: the other way round.
    # Deviation of (1, 0) is .7071, so each becomes +-.7071, whatever its size; the totals are (.707, -.707, .707, -.707)
    # with mean 0 and deviation .8165, and end at +-.866. In a plain sum the reward of size 100 would be all there is.
    got, metrics = ADVANTAGES.build("gdpo", {"epsilon": 1e-12})(batch([[1, 0], [0, 0], [0, 100], [0, 0]], (1.0, 1.0)))
    assert got.tolist() == pytest.approx([0.8660254, -0.8660254, 0.8660254, -0.8660254])
    assert float(metrics["std"]) == pytest.approx(math.sqrt(2 / 3))
    assert float(metrics["flat"]) == 0.5


def test_the_size_of_a_reward_does_not_matter_and_its_weight_does():
    parts, weights, size = CASES["two rewards"]
    plain = advantages(batch(parts, weights, size), epsilon=1e-12)
    larger = [[row[0], 1000 * row[1] - 7] for row in parts]
    torch.testing.assert_close(advantages(batch(larger, weights, size), epsilon=1e-12), plain, rtol=1e-8, atol=1e-8)
    assert (advantages(batch(parts, (1.0, 5.0), size)) - plain).abs().max() > 0.1


def test_one_reward_is_grpo_normalised_once_more():
    rewards = torch.tensor([1.0, 0.0, 0.5, 0.25, 0.0, 2.0]).double()
    b = batch(rewards.unsqueeze(1).tolist(), (1.0,), 3)
    once = ADVANTAGES.build("grpo")(b)[0]
    torch.testing.assert_close(advantages(b), (once - once.mean()) / (once.std() + 1e-4), **CLOSE)


def test_where_nothing_is_told_apart_nothing_is_learned():
    for parts in ([[1.0, 2.0]] * 4, [[NAN, NAN]] * 4):
        got, metrics = ADVANTAGES.build("gdpo")(batch(parts, (1.0, 1.0)))
        assert (got == 0).all()
        assert all(x.isnan() != (parts[0][0] == 1.0) for x in metrics.values()), "nothing scored is nothing measured"
    lonely = batch([[1.0, 0.0], [0.0, 3.0]], (1.0, 1.0), size=1)
    assert (advantages(lonely) == 0).all()
    assert (advantages(batch([[1.0, 2.0]], (1.0, 1.0))) == 0).all()


def test_ranks_that_share_groups_find_what_one_process_finds():
    parts, weights, size = CASES["a missing one"]
    whole = batch(parts, weights, size)
    cuts = [slice(0, 2), slice(2, 3), slice(3, 6)]
    per_rank = on_ranks([lambda reducer, at=at: advantages(rows_of(whole, at).set(reducer=reducer)) for at in cuts])
    assert torch.equal(torch.cat(per_rank), advantages(whole))


def test_rewards_without_as_many_weights_are_refused():
    with pytest.raises(ValueError, match="gdpo: 2 rewards need as many weights"):
        advantages(batch([[1, 0], [0, 1]], (1.0, 1.0), reward_weights=(1.0,)))
