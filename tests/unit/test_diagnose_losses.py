"""What is a loss, and what a stage of a curriculum, noise, or a short dip while the policy learns."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.findings import rules

from benchmarks.diagnose.healthy import noisy
from benchmarks.diagnose.ranges import seed_of
from benchmarks.diagnose.strangers import made
from benchmarks.diagnose.world import World
from entropostat.diagnose import examine


def found(
    rewards: list[float],
    *,
    every: int = 1,
    entropies: list[float] | None = None,
    lengths: list[float] | None = None,
) -> set[str]:
    rows = [
        {"step": every * (i + 1), "reward": reward, "entropy": 0.5, "completions/mean_length": 100}
        for i, reward in enumerate(rewards)
    ]
    for row, entropy in zip(rows, entropies or (), strict=False):
        row["entropy"] = entropy
    for row, length in zip(rows, lengths or (), strict=False):
        row["completions/mean_length"] = length
    return set(rules(SimpleNamespace(rows=rows, vocabulary=50_000)))


def sloping(high: float, low: float, rows: int) -> list[float]:
    """The rows between two levels, neither of them included."""
    return [high + (low - high) * (i + 1) / (rows + 1) for i in range(rows)]


@pytest.mark.parametrize(("low", "lost"), [(60, False), (900, True)])
def test_in_a_long_run_a_reward_is_lost_once_it_has_been_gone_for_a_tenth_of_it(low: int, lost: bool) -> None:
    """Without held-out sets and with nothing else changed: the next stage of a curriculum begins low, and rises."""
    wave = [0.01 * (i % 5 - 2) for i in range(6000)]
    level = [0.9] * 2992 + sloping(0.9, 0.08, 8) + [0.08] * low + [0.5] * (3000 - low)
    assert ("reward-lost" in found([a + b for a, b in zip(level, wave, strict=True)])) == lost


@pytest.mark.parametrize(("rows", "lost"), [(0, False), (8, True)])
@pytest.mark.parametrize("low", [0.05, 0.25])
def test_a_reward_that_falls_from_one_row_to_the_next_with_nothing_else_is_that_of_other_prompts(
    rows: int, lost: bool, low: float
) -> None:
    """A policy loses its skill over several updates. Nothing and a good part of it are left, each until the end."""
    level = [0.9] * 80 + sloping(0.9, low, rows) + [low] * 150
    assert ("reward-lost" in found([a + 0.02 * (i % 5 - 2) for i, a in enumerate(level)])) == lost


def test_a_fall_in_one_row_is_a_loss_where_lengths_went_with_it() -> None:
    rewards = [(0.9 if i < 80 else 0.05) + 0.01 * (i % 5) for i in range(200)]
    assert "reward-lost" in found(rewards, lengths=[100.0 if i < 80 else 8.0 for i in range(200)])


def test_a_reward_that_fell_to_its_own_bottom_is_lost_also_where_half_of_the_number_is_left() -> None:
    """Rewards between .4 and .8: nobody says that their floor is not 0, but lengths fell with them, and rows scatter by .01."""
    level = [0.8] * 60 + sloping(0.8, 0.4, 6) + [0.4] * 60
    rewards = [a + 0.01 * (i % 3 - 1) for i, a in enumerate(level)]
    rows = [
        {"step": i + 1, "reward": reward, "entropy": 0.5, "completions/mean_length": 100.0 if i < 63 else 8.0}
        for i, reward in enumerate(rewards)
    ]
    (lost,) = [one for one in examine(SimpleNamespace(rows=rows, vocabulary=None)) if one.rule == "reward-lost"]
    assert "as low as it ever was" in lost.evidence and "%" not in lost.evidence
    assert "reward-lost" not in found(rewards)


@pytest.mark.parametrize("index", [283, 484, 263, 400])
def test_a_burst_is_no_loss_and_no_explosion_for_as_long_as_a_window_remembers_it(index: int) -> None:
    """Some eight rows down with the entropy up, and back: means of five rows are there for five or six."""
    assert not {"reward-lost", "explosion"} & set(rules(made("bursting", "verdict", index, 98)))


@pytest.mark.parametrize(("lengths", "lost"), [((100.0, 100.0), False), ((100.0, 8.0), True)])
def test_on_an_unknown_scale_less_scatter_is_enough_where_lengths_went_too(
    lengths: tuple[float, float], lost: bool
) -> None:
    """Down by 1.6 of what a row scatters by: the range of a reward is its scatter, or it is a loss."""
    level = [0.0] * 100 + sloping(0.0, -3.3, 6) + [-3.3] * 200
    rewards = [a + (1 if i % 2 else -1) for i, a in enumerate(level)]
    assert ("reward-lost" in found(rewards, lengths=[lengths[i > 103] for i in range(306)])) == lost


@pytest.mark.parametrize(("fall", "lost"), [(3.0, False), (8.0, True)])
def test_on_an_unknown_scale_a_fall_is_measured_by_the_scatter_of_the_rows(fall: float, lost: bool) -> None:
    """Rows scatter by 1 about their level: a fall of three times that leaves a fourth of a range which is mostly scatter."""
    level = [0.0] * 200 + sloping(0.0, -fall, 10) + [-fall] * 200
    assert ("reward-lost" in found([a + (1 if i % 2 else -1) for i, a in enumerate(level)])) == lost


@pytest.mark.parametrize(("dip", "told"), [(5, False), (25, True)])
def test_a_dip_of_a_few_rows_does_not_make_convergence_a_collapse(dip: int, told: bool) -> None:
    """A row every five steps: a window of 24 steps is five rows, and five bad ones are no verdict."""
    entropies = [1.0] * 20 + [0.9**i for i in range(50)] + [0.9**49] * 50
    rewards = [0.3] * 32 + [0.5] * 48 + [0.3] * dip + [0.5] * (40 - dip)
    assert ("collapse" in found(rewards, every=5, entropies=entropies)) == told


@pytest.mark.parametrize(("learns", "told"), [(67, False), (76, True)])
def test_a_reward_that_rises_soon_after_the_entropy_is_low_was_learning(learns: int, told: bool) -> None:
    """A row every step: the entropy is low from row 47 on, and the reward of a converging run may stand still for a few steps."""
    entropies = [1.0] * 20 + [0.9**i for i in range(60)] + [0.9**60] * 120
    rewards = [0.3] * learns + [0.6] * (200 - learns)
    assert ("collapse" in found(rewards, entropies=entropies)) == told


@pytest.mark.parametrize(("first", "told"), [((1.0, 1.8, 2.5), True), ((1.8, 1.0, 2.5), False)])
def test_a_sparse_log_that_rises_from_its_first_row_on_began_there(first: tuple[float, ...], told: bool) -> None:
    """Their mean, 1.65 nats, leaves too short a way. Where they do not rise one after the other, the first is as noisy as any."""
    entropies = [*first, 3.1, *[3.3, 3.4, 3.35] * 34]
    rewards = [0.6, 0.34, 0.13, *[0.13, 0.12] * 52]
    assert ("explosion" in found(rewards, every=10, entropies=entropies)) == told


def test_the_highest_of_many_averages_of_a_noisy_run_is_no_explosion() -> None:
    """1,000 rows that scatter by half of their mean and remember: for some 20 of them the average is two standard errors up."""
    world = World("tuning", seed_of("tuning", "sw-noisy-1000", 109), 1000)
    world.evaluate_every = 0
    noisy(world)
    assert "explosion" not in rules(SimpleNamespace(rows=world.rows(), vocabulary=world.vocabulary))
