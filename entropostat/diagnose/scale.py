"""The scale of a reward, which a log does not say: shares of its range take the place of numbers that mean something on [0, 1] alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from entropostat.diagnose.log import Floats, Series
from entropostat.diagnose.windows import at, mean


def bounds(values: Floats) -> tuple[Floats, Floats]:
    """(lowest, highest) that the reward can be, as known at each row: 0 and 1 while every one lay there, else the smallest and the
    largest so far. Their distance is never 0."""
    if not len(values):
        return values, values
    low, high = np.minimum.accumulate(values), np.maximum.accumulate(values)
    unit = (low >= 0) & (high <= 1)
    low = np.where(unit, 0.0, low)
    high = np.where(unit, 1.0, high)
    return low, np.maximum(high, low + 1e-9)


def kept_of_best(series: Series, size: int, edges: Sequence[float] = ()) -> tuple[Floats, Floats, Floats]:
    """(best level so far, share of it above the lowest reward that is left, level now), each of means over ``size`` rows. At each of
    ``edges``, steps at which other prompts are asked, the best begins anew."""
    level = mean(series.values, size)
    best = np.where(np.isnan(level), -np.inf, level)
    cuts = [int(np.searchsorted(series.steps, edge)) for edge in sorted(edges)]
    for begin, end in pairwise([0, *cuts, len(best)]):
        settled = min(begin + size - 1, end) if begin else 0  # a mean over both stages is the level of neither
        best[begin:settled] = -np.inf
        best[begin:end] = np.fmax.accumulate(best[begin:end])
    low, _ = bounds(series.values)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.where(best > low, (level - low) / np.maximum(best - low, 1e-12), 1.0)
    return best, np.where(np.isnan(level), 1.0, left), level


def known_at(series: Series, steps: Floats, made: Callable[[Series], Floats]) -> Floats:
    """``made`` of a series, as known at ``steps``; NaN before its first row or without one."""
    return at(series, made(series), steps) if len(series) else np.full(len(steps), np.nan)
