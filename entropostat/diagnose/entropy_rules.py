"""Entropy that went too low, too high, or up at the wrong tokens: against the run's own start and ln V, two-sided."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from entropostat.diagnose import advice
from entropostat.diagnose.cause import mover
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.held_out import change, evaluations
from entropostat.diagnose.log import Floats, Log, Series
from entropostat.diagnose.windows import at, confirmed, detrended, lasting, mean, recent, span

START, AT_ONCE = 8, 3
"""Rows that say where the run began. A fall that begins with the first step has half of itself in eight rows: three, if they are higher."""
SMOOTH = 25
"""Rows of the average of log H: half of them may be noise of one bad rollout."""
LOW = 0.09
"""Collapsed: below this share of the start. A converging run gets there too, and is told apart by what it learned."""
BEGUN = 0.5
"""Share of the start above which nothing had fallen yet."""
GAIN = 0.08
"""Rise of the training reward during the fall that makes it learning, where no held-out set is there to say."""
WORSE = 0.04
"""Fall of pass@k plus half that of pass@1 that is a loss, over the root of the evaluations averaged: they are few and noisy."""
AGAIN = 25
"""In a long run it must have held for this part of it: until another evaluation."""
SOLVED = 0.95
"""A reward up here cannot rise."""
HIGH = 0.42
"""Exploded: at this share of the way from the start to ln V, on a logarithmic scale."""
FURTHER = 0.53
"""Exploded whatever the reward does, unless it rises."""
CLEAR = 2.0
"""Standard errors by which the average must be above the start: a short way to ln V may be noise."""
LEAST = 24
"""Rows by which noise is known."""
PATIENCE = 18
"""Rows that this takes: a run of small batches has bursts."""
CALM = 0.15
"""Below this share of the way nothing has risen yet."""
FALL = 0.85
"""Share of its former reward that a run in explosion has lost."""
UNKNOWN_VOCABULARY = 50_000


def smooth_log(log: Log, key: str, size: int = SMOOTH) -> tuple[Series, Floats, float]:
    """(rows, moving average of the logarithm, its start)."""
    series = log.series(key).finite
    values = np.log(np.maximum(series.values, 1e-9))
    begin = float(values[:START].mean()) if len(values) >= START else math.nan
    return series, mean(values, size), begin


def collapse(log: Log) -> Iterator[Finding]:
    series, smooth, begin = smooth_log(log, "entropy")
    if len(series) < SMOOTH or math.isnan(begin):
        return
    begin = max(begin, float(np.log(np.maximum(series.values[:AT_ONCE], 1e-9)).mean()))
    fall = np.nan_to_num(smooth - begin)
    low = fall <= math.log(LOW)
    if not low.any():
        return
    sets, reward = evaluations(log), log.first("reward")
    ill = np.zeros(len(series), bool)
    told = ""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], low.astype(int), [0]])))
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        above = np.flatnonzero(fall[:first] > math.log(BEGUN))
        before = float(series.steps[above[-1]]) if len(above) else float(series.steps[0])
        since = float(series.steps[first])
        checked = np.array([float(one.right.steps[-1]) for one in sets])
        if len(checked) and float(checked.max()) > 0:
            looks = sorted({float(s) for one in sets for s in one.right.steps if s >= since})
            for now, until in pairwise([*looks, math.inf]):
                worse = change(sets, before, since, now)
                if worse is not None and worse[0] + 0.5 * worse[1] < -WORSE / math.sqrt(worse[3]):
                    here = (series.steps >= now) & (series.steps < until)
                    ill[first:end] |= here[first:end]
                    told = f"{worse[2]}: pass@k {worse[0]:+.3f}, pass@1 {worse[1]:+.3f} since the fall began"
        elif len(reward):
            known, begun = reward.count(series.steps[first:end]), int(reward.count(since))
            then = _level(reward, int(reward.count(before)), 8)
            after = np.concatenate([[np.nan], recent(reward.values[begun:], 24)])
            now_ = after[np.maximum(known - begun, 0)]
            still = (known - begun >= 6) & (now_ - then < GAIN) & (now_ < SOLVED)
            ill[first:end] |= lasting(still, 5)
            told = f"reward {then:.3f} before the fall, {now_[-1]:.3f} after it"
        else:
            ill[first:end] |= lasting(low[first:end], SMOOTH)
            told = "no reward and no held-out set was logged to show that it converged"
    ill = confirmed(ill, AGAIN)
    if not ill.any():
        return
    steps = span(series, ill)
    last = int(np.flatnonzero(ill)[-1])
    yield Finding(
        "collapse",
        "critical",
        steps,
        f"entropy {math.exp(smooth[last]):.3g} nats is {math.exp(fall[last]):.1%} of its start ({math.exp(begin):.3g}); {told}",
        mover(log, steps, "down"),
        advice.collapse(log, math.exp(begin)),
    )


def _level(series: Series, end: int, rows: int) -> float:
    """Mean of the rows before the one numbered ``end``; of the first ones where there are too few."""
    return float(series.values[max(end - rows, 0) : max(end, rows)].mean())


def noise_of_mean(values: Floats, up: Floats, size: int) -> float:
    """Standard error of (mean of ``size`` rows) - (mean of the first ones), by the rows before anything rose: AR(1)."""
    begun = np.flatnonzero(up >= CALM)
    rows = int(begun[0]) if len(begun) else len(values)
    calm = np.log(np.maximum(values[: min(max(rows, LEAST), 200)], 1e-9))
    # A rise that is under way by then is no noise.
    calm = detrended(calm) if rows < LEAST else calm - calm.mean()
    power = float(calm @ calm)
    if power <= 0:
        return 0.0
    memory = min(max(float(calm[1:] @ calm[:-1]) / power, 0.0), 0.9)
    return float(np.sqrt(power / len(calm) * (1 + memory) / (1 - memory) * (1 / size + 1 / START)))


def explosion(log: Log) -> Iterator[Finding]:
    series, smooth, begin = smooth_log(log, "entropy", 20)
    if len(series) < LEAST or math.isnan(begin):
        return
    ceiling = math.log(math.log(log.vocabulary or UNKNOWN_VOCABULARY))
    room = max(ceiling - begin, 0.05)
    up = np.nan_to_num((smooth - begin) / room)
    high = (up >= HIGH) & (smooth - begin >= CLEAR * noise_of_mean(series.values, up, 20))
    if not high.any():
        return
    reward = log.first("reward")
    ill, told = lasting(high & (up >= FURTHER), PATIENCE), "no reward was logged"
    if len(reward) >= 12:
        now = at(reward, recent(reward.values, 12), series.steps)
        index = np.maximum.accumulate(np.where(up < CALM, np.arange(len(up)), 0))
        then = at(reward, recent(reward.values, 24), series.steps)[index]
        then = np.where(np.isnan(then), float(reward.values[:START].mean()), then)
        ill = lasting(high & (now <= FALL * then), 5) | lasting(high & (up >= FURTHER) & (now < then + GAIN), PATIENCE)
        where = int(np.flatnonzero(high)[-1])
        told = f"the reward went from {then[where]:.3f} to {now[where]:.3f}"
    ill = confirmed(ill)
    if not ill.any():
        return
    steps, last = span(series, ill), int(np.flatnonzero(ill)[-1])
    of = "" if log.vocabulary else f" (vocabulary unknown, {UNKNOWN_VOCABULARY} taken)"
    yield Finding(
        "explosion",
        "critical",
        steps,
        f"entropy {math.exp(smooth[last]):.3g} nats, from {math.exp(begin):.3g} at the start: {up[last]:.0%} of the way to "
        f"ln V = {math.exp(ceiling):.3g}{of}, on a log scale; {told}",
        mover(log, steps, "up"),
        advice.explosion(log, math.exp(begin)),
    )


LIFTED, FADED = 2.5, 0.7
"""Change of the median and of p90 beside the mean's, from the start."""
KEPT = 0.6


def wrong_tokens(log: Log) -> Iterator[Finding]:
    """The mean is kept or raised, by tokens that were sure (p50), while those that were decisions (p90) lose theirs."""
    size = 20
    parts = {key: smooth_log(log, key, size) for key in ("entropy", "entropy/p50", "entropy/p90")}
    if any(len(series) < size for series, _, _ in parts.values()):
        return
    series = parts["entropy"][0]
    h, median, top = (at(s, smooth - begin, series.steps) for s, smooth, begin in parts.values())
    with np.errstate(invalid="ignore"):
        ill = (h >= math.log(KEPT)) & (median - h >= math.log(LIFTED)) & (top - h <= math.log(FADED))
        ill &= (median > math.log(LIFTED * KEPT)) & (top <= math.log(FADED) + 0.1)
    ill = confirmed(lasting(ill, 5))
    if not ill.any():
        return
    steps, last = span(series, ill), int(np.flatnonzero(ill)[-1])
    yield Finding(
        "wrong-tokens",
        "warning",
        steps,
        f"mean entropy is {math.exp(h[last]):.2f} times its start, the median token's {math.exp(median[last]):.2f} times, and "
        f"that of the tokens that were decisions (p90) {math.exp(top[last]):.2f} times",
        mover(log, steps, "up"),
        advice.wrong_tokens(log),
    )
