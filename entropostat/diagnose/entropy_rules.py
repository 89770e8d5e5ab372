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
from entropostat.diagnose.scale import bounds
from entropostat.diagnose.windows import Flags, at, confirmed, detrended, lasting, mean, recent, size_in_rows, span

START, AT_ONCE = 8, 3
"""Steps that say where the run began. A fall that begins with the first step has half of itself in eight of them: three, if they are
higher; so has a rise. Windows count steps; each has a least number of rows, for a log with a row every tenth."""
HEAD, RISEN = 32, 3.0
"""Rows that say how rows scatter, and the standard deviations of one by which the first ones must have risen."""
SMOOTH, FEW = 25, 5
"""Steps of the average of log H, and rows at least: half of them may be noise of one bad rollout."""
LOW = 0.09
"""Collapsed: below this share of the start. A converging run gets there too, and is told apart by what it learned."""
BEGUN = 0.5
"""Share of the start above which nothing had fallen yet."""
GAIN = 0.08
"""Rise of the training reward during the fall that makes it learning, where no held-out set is there to say; a share of its range."""
WORSE = 0.04
"""Fall of pass@k plus half that of pass@1 that is a loss, over the root of the evaluations averaged: they are few and noisy."""
AGAIN = 25
"""In a long run it must have held for this part of it: until another evaluation."""
BEFORE, AFTER, HOLDS = 5, 10, 5
"""Rows at least of its level before the fall, of that after it, and that a verdict by them must hold for."""
STILL = 12
"""Steps that such a verdict must hold for: the reward of a converging run may stand still for a few."""
SOLVED = 0.95
"""A reward between 0 and 1 that is up here cannot rise."""
HIGH = 0.42
"""Exploded: at this share of the way from the start to ln V, on a logarithmic scale."""
FURTHER = 0.53
"""Exploded whatever the reward does, unless it rises."""
CLEAR = 2.0
"""Standard errors by which the average must be above the start: a short way to ln V may be noise. More in a long log, by what the highest
of so many independent averages reaches."""
LEAST, ENOUGH = 24, 10
"""Steps by which noise is known, and rows at least."""
PATIENCE = 18
"""Steps that this takes: a run of small batches has bursts."""
LASTS = 5
"""Steps that a verdict by the reward must hold for."""
LEFT_IN = 7
"""Rows at least of both: a burst of a few rows is in a mean of ``FEW`` for longer than that."""
BACK = 0.2
"""Below this share of the way a rise has come back."""
CALM = 0.15
"""Below this share of the way nothing has risen yet."""
FALL = 0.85
"""A run in explosion has no more left of its former reward."""
UNKNOWN_VOCABULARY = 50_000


def smooth_log(log: Log, key: str, steps: int = SMOOTH) -> tuple[Series, Floats, float]:
    """(rows, moving average of the logarithm, its start)."""
    series = log.series(key).finite
    values = np.log(np.maximum(series.values, 1e-9))
    start = size_in_rows(series, START, AT_ONCE)
    begin = float(values[:start].mean()) if len(values) >= start else math.nan
    return series, mean(values, size_in_rows(series, steps, FEW)), begin


def at_once(series: Series) -> float:
    """The logarithm at the first steps alone."""
    return float(np.log(np.maximum(series.values[:AT_ONCE], 1e-9)).mean())


def first_of_a_rise(series: Series) -> float:
    """The logarithm of the first row where those at once go up one after the other, further than rows scatter: in a sparse log their mean
    lies far up a rise."""
    rows = np.log(np.maximum(series.values[:HEAD], 1e-9))
    first, after = rows[:AT_ONCE], np.diff(rows[AT_ONCE:])
    scatter = float(np.median(np.abs(after))) / 0.954 if len(after) else math.inf
    up = bool((np.diff(first) > 0).all()) and first[-1] - first[0] >= RISEN * scatter
    return float(first[0]) if up else math.inf


def collapse(log: Log) -> Iterator[Finding]:
    series, smooth, begin = smooth_log(log, "entropy")
    size = size_in_rows(series, SMOOTH, FEW)
    if len(series) < size or math.isnan(begin):
        return
    begin = max(begin, at_once(series))
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
            then = _level(reward, int(reward.count(before)), size_in_rows(reward, 8, BEFORE))
            after = np.concatenate([[np.nan], recent(reward.values[begun:], size_in_rows(reward, 24, AFTER))])
            now_ = after[np.maximum(known - begun, 0)]
            low_, high_ = (np.concatenate([edge[:1], edge])[known] for edge in bounds(reward.values))
            still = (known - begun >= size_in_rows(reward, 6, 3)) & (now_ - then < GAIN * (high_ - low_))
            # On an unknown scale the largest reward so far is no ceiling: one that never moved lies at it.
            still &= (now_ < SOLVED) | (high_ != 1) | (low_ != 0)
            ill[first:end] |= lasting(still, size_in_rows(series, STILL, HOLDS))
            told = f"reward {then:.3f} before the fall, {now_[-1]:.3f} after it"
        else:
            ill[first:end] |= lasting(low[first:end], size)
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


def noise_of_mean(series: Series, up: Floats, size: int) -> float:
    """Standard error of (mean of ``size`` rows) - (mean of the first ones), by the rows before anything rose: AR(1)."""
    begun, values, least = np.flatnonzero(up >= CALM), series.values, size_in_rows(series, LEAST, ENOUGH)
    rows = int(begun[0]) if len(begun) else len(values)
    calm = np.log(np.maximum(values[: min(max(rows, least), 200)], 1e-9))
    # A rise that is under way by then is no noise.
    calm = detrended(calm) if rows < least else calm - calm.mean()
    power = float(calm @ calm)
    if power <= 0:
        return 0.0
    memory = min(max(float(calm[1:] @ calm[:-1]) / power, 0.0), 0.9)
    start = size_in_rows(series, START, AT_ONCE)
    return float(np.sqrt(power / len(calm) * (1 + memory) / (1 - memory) * (1 / size + 1 / start)))


def explosion(log: Log) -> Iterator[Finding]:
    """And a rise as large that came back by itself, as a note."""
    series, smooth, begin = smooth_log(log, "entropy", 20)
    if len(series) < size_in_rows(series, LEAST, ENOUGH) or math.isnan(begin):
        return
    begin = min(begin, at_once(series), first_of_a_rise(series))
    ceiling = math.log(math.log(log.vocabulary or UNKNOWN_VOCABULARY))
    room = max(ceiling - begin, 0.05)
    up = np.nan_to_num((smooth - begin) / room)
    size = size_in_rows(series, 20, FEW)
    looks = np.arange(1, len(series) + 1) / size
    clear = np.sqrt(np.maximum(2 * np.log(looks), CLEAR**2))
    high = (up >= HIGH) & (smooth - begin >= clear * noise_of_mean(series, up, size))
    if not high.any():
        return
    patience, lasts = size_in_rows(series, PATIENCE, LEFT_IN), size_in_rows(series, LASTS, LEFT_IN)
    reward = log.first("reward")
    ill, told, worse = lasting(high & (up >= FURTHER), patience), "no reward was logged", high
    if len(reward) >= size_in_rows(reward, 12, FEW):
        now = at(reward, recent(reward.values, size_in_rows(reward, 12, AT_ONCE)), series.steps)
        index = np.maximum.accumulate(np.where(up < CALM, np.arange(len(up)), 0))
        then = at(reward, recent(reward.values, size_in_rows(reward, 24, FEW)), series.steps)[index]
        start = size_in_rows(reward, START, AT_ONCE)
        then = np.where(np.isnan(then), float(reward.values[:start].mean()), then)
        low, top = (at(reward, edge, series.steps) for edge in bounds(reward.values))
        lost = now - low <= FALL * (then - low)
        worse = high & lost
        ill = lasting(worse, lasts) | lasting(high & (up >= FURTHER) & (now < then + GAIN * (top - low)), patience)
        where = int(np.flatnonzero(high)[-1])
        told = f"the reward went from {then[where]:.3f} to {now[where]:.3f}"
    ill = confirmed(ill)
    if not ill.any():
        yield from _blip(log, series, smooth, lasting(worse, 2), up)
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


def _blip(log: Log, series: Series, smooth: Floats, high: Flags, up: Floats) -> Iterator[Finding]:
    """High for a while, with the reward down, and back again."""
    back = np.flatnonzero(high & np.concatenate([~high[1:], [False]]))
    back = np.array([end for end in back if (up[end:] <= BACK).any()], dtype=int)
    if not len(back):
        return
    steps = span(series, high & (np.arange(len(high)) <= back[-1]))
    top = int(np.argmax(np.where(high, smooth, -np.inf)))
    yield Finding(
        "entropy-blip",
        "info",
        steps,
        f"entropy rose to {math.exp(smooth[top]):.3g} nats, {up[top]:.0%} of the way to ln V, and came back by itself",
        mover(log, steps, "up"),
        advice.blip(log),
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
