"""What a run had and lost, and completions that no longer end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from entropostat.diagnose import advice
from entropostat.diagnose.cause import mover
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.held_out import evaluations, level
from entropostat.diagnose.log import Floats, Log, Series
from entropostat.diagnose.scale import bounds, kept_of_best, known_at
from entropostat.diagnose.windows import Flags, at, confirmed, lasting, mean, size_in_rows, span

STEPS, ROWS = 15, 5
"""Of the level of the reward, and of how long it must be gone; rows at least."""
LEFT = 0.35
"""Share of its best level, above the lowest reward, that a run has left which lost it."""
ALL, TENTH = 0.15, 10
"""Less than this is everything, whatever else the log shows: in a long run once it has been so for one part in ``TENTH`` of it, since a
curriculum's next stage may begin as low."""
HAD = 0.15
"""The level must have been so far above the lowest, as a share of the range."""
FELL = 2.0
"""Standard deviations of a row by which it must have fallen where the scale is unknown: the range of a reward that hardly moves is noise."""
FELL_TOO = 1.0
"""The same where something else changed with it."""
FAR = 5.0
"""And by so many it is a loss whatever the scale, if something else changed with it."""
SEEN = 8
"""Differences of neighbours that tell how rows scatter."""
NOISES = 2.5
"""Standard errors of the difference of two levels."""
OUTLASTS = 2
"""Rows beyond a window: a burst of a few rows is in a mean for as long as the window is."""
SINCE, AGAIN = 0.2, 0.1
"""Where nothing else changed it may be another stage of a curriculum: it must have been gone for this share of the run, and no
more than this of what was lost come back."""
EDGE, ONE_ROW = 3, 0.8
"""Rows on either side of a fall in one row, and the share of the fall that is between them: a fall over four rows has .67 of it."""
FACTOR, MORE = 2.0, 0.3
"""What else changes: length by this factor; dead groups, or completions that were cut, by this share. Entropy rises where a curriculum
asks something new."""


def reward_lost(log: Log) -> Iterator[Finding]:
    reward = log.first("reward")
    size = size_in_rows(reward, STEPS, ROWS)
    if len(reward) < 2 * size:
        return
    best, left, now = kept_of_best(reward, size, log.edges)
    low, high = bounds(reward.values)
    noise, unit = _noise(reward.values), (low == 0) & (high == 1)
    other = _something_else(log, reward, size)
    fell = best - now >= np.where(other, FELL_TOO, FELL) * noise
    had = (best - low >= HAD * (high - low)) & (unit | fell)
    clear = best - now >= NOISES * noise * np.sqrt(2 / size)
    gone = had & clear & ((left <= LEFT) | other & _to_the_bottom(reward.values, best, now, noise, high - low))
    if not gone.any():
        return
    alone = confirmed(lasting(gone & (left <= ALL), size), TENTH) | _for_good(gone, now, best, 2 * size)
    ill = lasting(gone, size + OUTLASTS) & (other | alone & ~_at_once(reward.values, gone, best - now, size))
    ill &= _held_out_fell(log, reward)
    if not ill.any():
        return
    steps, last = span(reward, ill), int(np.flatnonzero(ill)[-1])
    what_is_left = (
        f"{max(left[last], 0):.0%} of what it was above its lowest is left"
        if left[last] <= LEFT
        else f"as low as it ever was, by {(best[last] - now[last]) / noise[last]:.0f} times what rows scatter"
    )
    yield Finding(
        "reward-lost",
        "critical",
        steps,
        f"the reward was {best[last]:.3g} and is {now[last]:.3g} (means of {size} rows): {what_is_left}",
        mover(log, steps, "up") if other[last] else "an update that destroyed the skill, or prompts that changed",
        advice.reward_lost(log),
    )


def _to_the_bottom(values: Floats, best: Floats, now: Floats, noise: Floats, width: Floats) -> Flags:
    """Down to the lowest that it ever was, and far by what rows scatter: rewards between .3 and .6 have a floor that is not 0."""
    least = np.minimum.accumulate(values)
    with np.errstate(invalid="ignore"):
        near = now - least <= LEFT * (best - least)
        return np.asarray(near & (best - now >= np.maximum(FAR * noise, HAD * width)))


def _noise(values: Floats) -> Floats:
    """Standard deviation of a row about its level, as known at each: from the differences of neighbours, large ones cut."""
    steps = np.abs(np.diff(values, prepend=values[:1]))
    seen = np.maximum.accumulate(
        np.array([np.median(steps[1 : i + 1]) if i >= SEEN else 0.0 for i in range(len(values))])
    )
    return np.asarray(np.maximum(seen, 1e-9) / 0.954, dtype=np.float64)


def _at_once(values: Floats, gone: Flags, fell: Floats, size: int) -> Flags:
    """Whether the level fell from one row to the next, for each row at which it is gone: other prompts do that, a policy that loses
    its skill takes several updates."""
    before = mean(values, EDGE)
    drop = np.full(len(values), -np.inf)
    drop[EDGE : len(values) - EDGE + 1] = before[EDGE - 1 : len(values) - EDGE] - before[2 * EDGE - 1 :]
    out = np.zeros(len(values), bool)
    begun = 0
    for i in map(int, np.flatnonzero(gone)):
        begun = i if not gone[i - 1] else begun
        near = drop[max(begun - 2 * size, 0) : min(begun, i - EDGE + 1) + 1]
        out[i] = len(near) > 0 and bool(near.max() >= ONE_ROW * fell[i])
    return out


def _for_good(gone: Flags, now: Floats, best: Floats, least: int) -> Flags:
    index = np.arange(len(gone))
    begun = np.maximum.accumulate(np.where(gone & ~np.concatenate([[False], gone[:-1]]), index, 0))
    lowest = np.array([np.nanmin(now[a : i + 1]) if gone[i] else np.nan for i, a in enumerate(begun)])
    with np.errstate(invalid="ignore"):
        back = (now - lowest) > AGAIN * (best - lowest)
    return np.asarray(gone & (index - begun >= np.maximum(SINCE * index, least)) & ~back)


def _something_else(log: Log, reward: Series, size: int) -> Flags:
    """Whether lengths, dead groups or cut completions left where they were; True where none of them is logged."""
    signs = []
    for keys, relative in (
        (("completions/mean_length",), True),
        (("frac_reward_zero_std",), False),
        (("completions/clipped_ratio",), False),
    ):
        series = log.first(*keys)
        if not len(series):
            continue
        rows = size_in_rows(series, STEPS, ROWS)
        level_ = known_at(series, reward.steps, lambda one, rows=rows: mean(one.values, rows))  # type: ignore[misc]
        first = float(np.median(series.values[: max(rows, 3)]))
        with np.errstate(invalid="ignore", divide="ignore"):
            if relative:
                ratio = level_ / max(first, 1e-9)
                signs.append((ratio >= FACTOR) | (ratio <= 1 / FACTOR))
            else:
                signs.append(level_ - first >= MORE)
    return np.logical_or.reduce(signs) if signs else np.ones(len(reward), bool)


def _held_out_fell(log: Log, reward: Series) -> Flags:
    """False where a held-out set that was looked at since is as good as it was: other prompts are asked, and nothing was lost."""
    fell = np.ones(len(reward), bool)
    for one in evaluations(log):
        right = one.right
        for i, step in enumerate(reward.steps):
            seen = int(right.count(step))
            if seen >= 4:
                begin, last = level(right.values[: seen - 2], 3), level(right.values[:seen], 2)
                best = float(np.max(right.values[: seen - 2]))
                fell[i] &= last < min(begin, best) - 0.03
    return fell


CUT, ENDED = 0.85, 0.5
"""Share of the completions that are cut off, and of those that were while all was well."""


def truncation(log: Log) -> Iterator[Finding]:
    """A length limit that every completion stays below is right, one that no completion ever did is a choice: this is the change."""
    series = log.series("completions/clipped_ratio").finite
    size = size_in_rows(series, 12, 3)
    if len(series) < 2 * size:
        return
    average = mean(series.values, size)
    well = np.fmin.accumulate(np.where(np.isnan(average), np.inf, average))
    with np.errstate(invalid="ignore"):
        ill = lasting((average >= CUT) & (well <= ENDED), size_in_rows(series, 5, 3))
    if not ill.any():
        return
    steps, last = span(series, ill), int(np.flatnonzero(ill)[-1])
    length = log.first("completions/mean_length")
    lengths = at(length, mean(length.values, min(size, max(len(length), 1))), series.steps) if len(length) else None
    grown = "" if lengths is None else f"; mean length {lengths[last]:.0f}, {float(length.values[0]):.0f} at the start"
    yield Finding(
        "truncation",
        "warning",
        steps,
        f"{average[last]:.0%} of the completions are cut off by the length limit, {well[last]:.0%} were{grown}",
        "completions no longer end: their reward is that of what was cut off",
        advice.truncation(log),
    )
