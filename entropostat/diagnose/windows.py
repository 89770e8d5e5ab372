"""Causal statistics: what stands at row i is known from the rows up to i. So a rule says of a whole log what it would have
said while the log was written, and its first step is the delay that a live user would have seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from entropostat.diagnose.log import Floats, Series

Flags = NDArray[np.bool_]


def mean(values: Floats, size: int) -> Floats:
    """Of the last ``size`` values; NaN where there are fewer."""
    out = np.full(len(values), np.nan)
    if len(values) >= size:
        total = np.cumsum(np.concatenate([[0.0], values]))
        out[size - 1 :] = (total[size:] - total[:-size]) / size
    return out


def recent(values: Floats, size: int) -> Floats:
    """Mean of the last ``size`` values, or of all where there are fewer."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(end - size, 0)
    return np.asarray((total[end] - total[begin]) / (end - begin), dtype=np.float64)


def deviation(values: Floats, size: int) -> Floats:
    """Standard deviation of the last ``size`` values; NaN where there are fewer."""
    centred = values - (values.mean() if len(values) else 0.0)
    average = mean(centred, size)
    return np.sqrt(np.maximum(mean(centred * centred, size) - average * average, 0.0))


def lasting(flags: Flags, rows: int) -> Flags:
    """True where it has been true for ``rows`` rows in a row."""
    return np.asarray(_in_a_row(flags) >= rows)


LONG, PART = 1000, 50
"""From this row on a finding must have held for this part of the rows so far: a long log gives noise more chances, and time to look twice."""


def confirmed(flags: Flags, part: int = PART) -> Flags:
    """True where it has been true for as long as a log of so many rows asks for."""
    index = np.arange(len(flags))
    return np.asarray(_in_a_row(flags) >= np.where(index >= LONG, index // part, 1))


def _in_a_row(flags: Flags) -> NDArray[np.int64]:
    """For how many rows up to each it has been true."""
    index = np.arange(len(flags))
    return index - np.maximum.accumulate(np.where(flags, -1, index)) if len(flags) else index


def size_in_rows(series: Series, steps: int, least: int) -> int:
    """A window of ``steps`` in rows of this series, and at least ``least`` rows: trainers log every step, or every tenth."""
    if len(series) < 2:
        return least
    head = np.diff(series.steps[:32])
    return max(round(steps / max(float(np.median(head)), 1e-9)), least)


def at(series: Series, values: Floats, steps: Floats, otherwise: float = np.nan) -> Floats:
    """``values``, of the rows of ``series``, as last known at each of ``steps``."""
    count = series.count(steps)
    padded = np.concatenate([[otherwise], values])
    return np.asarray(padded[count], dtype=np.float64)


def span(series: Series, ill: Flags) -> tuple[int, int]:
    """First and last step at which ``ill``."""
    places = np.flatnonzero(ill)
    return int(series.steps[places[0]]), int(series.steps[places[-1]])


def detrended(values: Floats) -> Floats:
    """Less their least-squares line."""
    t = np.arange(len(values)) - (len(values) - 1) / 2
    centred = values - values.mean()
    return np.asarray(centred - t * float(t @ centred) / max(float(t @ t), 1e-300), dtype=np.float64)
