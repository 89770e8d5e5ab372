"""How badly a run's reward and KL behaved: crashes, drawdown, averages and tails.

SAFE (arXiv:2602.04651) counts "reward crashes" without a definition that its code would show. This one is ours:

    m = EMA of the reward, s = EMA of |r - m|, both with decay 0.95 and started at the first WARMUP rewards
    a crash begins where r < m - max(3 s, 0.2 |m|), and ends where r >= m - s;  m and s stand still meanwhile

m and s are those before the step. They stand still in a crash, or a reward that stays down would soon be the new normal and
the crash be over without recovery. 0.2 |m| keeps a calm run from crashing at every small dip, and makes the definition one of
relative size: rewards that scatter about 0 crash by 3 s alone.

    drawdown = the most that the EMA of the reward (decay 0.95) ever lost against its best before

Plain Python on sequences of floats, one per optimizer step or generation. A NaN, a step without a reward, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DECAY = 0.95
WARMUP = 10
"""Rewards whose mean and mean deviation the averages start from; no crash begins among them."""
DEPTH = 3.0
RELATIVE = 0.2
LAST = 0.1
"""Share of the run that is its end."""


@dataclass(frozen=True)
class Crash:
    """Steps of one crash: the first is in it, ``end`` is not. ``end`` is the length of the series where it never ended."""

    start: int
    end: int


@dataclass(frozen=True)
class Behaviour:
    """What a table of runs compares."""

    crashes: int
    crash_share: float
    """Share of the steps that are in a crash."""
    drawdown: float
    average_reward: float
    """Mean over the whole run: what it cost to get there counts."""
    final_reward: float
    """Mean over the last tenth."""
    kl_mean: float
    kl_p95: float
    kl_max: float


def behaviour(rewards: Sequence[float], kl: Sequence[float]) -> Behaviour:
    """Of one run. ``kl`` in nats, as often as it was measured. 0 for what an empty series leaves undefined."""
    reward, divergence = _measured(rewards), _measured(kl)
    spans = crashes(reward)
    share = sum(crash.end - crash.start for crash in spans) / max(len(reward), 1)
    last = reward[-max(math.ceil(LAST * len(reward)), 1) :]
    return Behaviour(
        crashes=len(spans),
        crash_share=share,
        drawdown=drawdown(reward),
        average_reward=_mean(reward),
        final_reward=_mean(last),
        kl_mean=_mean(divergence),
        kl_p95=quantile(divergence, 0.95),
        kl_max=max(divergence, default=0.0),
    )


def crashes(rewards: Sequence[float]) -> list[Crash]:
    """Every crash of a series, in order. Places count the measured rewards."""
    series = _measured(rewards)
    mean = _mean(series[:WARMUP])
    deviation = _mean([abs(r - mean) for r in series[:WARMUP]])
    spans: list[Crash] = []
    start: int | None = None
    for step, reward in enumerate(series[WARMUP:], start=WARMUP):
        if start is None and reward < mean - max(DEPTH * deviation, RELATIVE * abs(mean)):
            start = step
        elif start is not None and reward >= mean - deviation:
            spans.append(Crash(start, step))
            start = None
        if start is None:
            deviation = DECAY * deviation + (1 - DECAY) * abs(reward - mean)
            mean = DECAY * mean + (1 - DECAY) * reward
    return spans if start is None else [*spans, Crash(start, len(series))]


def drawdown(rewards: Sequence[float]) -> float:
    """The largest fall of the reward's average below its best so far; 0 for a series that only rises."""
    series = _measured(rewards)
    if not series:
        return 0.0
    average = best = _mean(series[:WARMUP])
    deepest = 0.0
    for reward in series[WARMUP:]:
        average = DECAY * average + (1 - DECAY) * reward
        best = max(best, average)
        deepest = max(deepest, best - average)
    return deepest


def quantile(values: Sequence[float], q: float) -> float:
    """Linear-interpolation quantile of the measured values; 0 without any."""
    ordered = sorted(_measured(values))
    if not ordered:
        return 0.0
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _measured(values: Sequence[float]) -> list[float]:
    return [float(x) for x in values if math.isfinite(x)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
