"""What is a loss, and what a stage of a curriculum, noise, or a short dip while the policy learns."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.findings import rules


def found(rewards: list[float], *, every: int = 1, entropies: list[float] | None = None) -> set[str]:
    rows = [
        {"step": every * (i + 1), "reward": reward, "entropy": 0.5, "completions/mean_length": 100}
        for i, reward in enumerate(rewards)
    ]
    for row, entropy in zip(rows, entropies or (), strict=False):
        row["entropy"] = entropy
    return set(rules(SimpleNamespace(rows=rows, vocabulary=50_000)))


@pytest.mark.parametrize(("low", "lost"), [(60, False), (900, True)])
def test_in_a_long_run_a_reward_is_lost_once_it_has_been_gone_for_a_tenth_of_it(low: int, lost: bool) -> None:
    """Without held-out sets and with nothing else changed: the next stage of a curriculum begins low, and rises."""
    wave = [0.01 * (i % 5 - 2) for i in range(6000)]
    level = [0.9] * 3000 + [0.08] * low + [0.5] * (3000 - low)
    assert ("reward-lost" in found([a + b for a, b in zip(level, wave, strict=True)])) == lost


@pytest.mark.parametrize(("fall", "lost"), [(3.0, False), (8.0, True)])
def test_on_an_unknown_scale_a_fall_is_measured_by_the_scatter_of_the_rows(fall: float, lost: bool) -> None:
    """Rows scatter by 1 about their level: a fall of three times that leaves a fourth of a range which is mostly scatter."""
    level = [0.0] * 200 + [-fall] * 200
    assert ("reward-lost" in found([a + (1 if i % 2 else -1) for i, a in enumerate(level)])) == lost


@pytest.mark.parametrize(("dip", "told"), [(5, False), (25, True)])
def test_a_dip_of_a_few_rows_does_not_make_convergence_a_collapse(dip: int, told: bool) -> None:
    """A row every five steps: a window of 24 steps is five rows, and five bad ones are no verdict."""
    entropies = [1.0] * 20 + [0.9**i for i in range(50)] + [0.9**49] * 50
    rewards = [0.3] * 32 + [0.5] * 48 + [0.3] * dip + [0.5] * (40 - dip)
    assert ("collapse" in found(rewards, every=5, entropies=entropies)) == told
