"""Series for the browser: thinned to at most 500 buckets of min, mean, max and one recorded step, and packed.

A bucket spans the same steps in every metric and every run, and its recorded step is the last one in it: overlaid
curves share their steps, and what the mouse shows is a row of the log and no average. Recorded values keep every bit.
Mean, min and max are drawn, not read out: 24 bits of a float32, right to 1.6e-5 of their size.
"""

from __future__ import annotations

import math
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropostat.readers.run_folder import Run

BUCKETS = 500
FEWEST = 40
BUDGET = 2_250_000
"""Bytes of all packed series. More than about 200 full ones get fewer buckets, so that the file stays below 3 MB."""
BYTES_A_BUCKET = (8 + 3 * 3) * 4 / 3
LARGEST = 3e38
Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


@dataclass(frozen=True)
class Column:
    """One metric of one run as logged, steps ascending."""

    steps: Steps
    values: Floats


@dataclass(frozen=True)
class Grid:
    """Bucket ``i`` holds the steps in [first + i width, first + (i + 1) width)."""

    first: int
    width: int
    buckets: int

    @classmethod
    def over(cls, columns: list[Column]) -> Grid:
        varying = sum(len(column.steps) > FEWEST and np.ptp(column.values) > 0 for column in columns)
        buckets = max(FEWEST, min(BUCKETS, int(BUDGET / BYTES_A_BUCKET / max(varying, 1))))
        first = min((int(column.steps[0]) for column in columns), default=0)
        last = max((int(column.steps[-1]) for column in columns), default=0)
        return cls(first, math.ceil((last - first + 1) / buckets), buckets)


def columns(run: Run) -> dict[str, Column]:
    """Every number of the run by key. Where a step was logged twice, as by a job that was resumed, the later one counts."""
    return {key: _column(*run.series(key)) for key in run.keys}


def _column(given: list[int], numbers: list[float]) -> Column:
    steps, values = np.array(given, dtype=np.int64), np.array(numbers, dtype=np.float64)
    later = np.append(steps[1:] != steps[:-1], True)
    return Column(steps[later], values[later])


class Axes:
    """The distinct step axes, each packed once."""

    def __init__(self) -> None:
        self.packed: list[str] = []
        self._index: dict[bytes, int] = {}

    def add(self, steps: Steps) -> int:
        raw = steps.astype("<u4").tobytes()
        if raw not in self._index:
            self._index[raw] = len(self.packed)
            self.packed.append(b64encode(raw).decode())
        return self._index[raw]


def pack(column: Column, grid: Grid, axes: Axes) -> dict[str, Any]:
    """``x``: index of its steps; ``v``: recorded values (float64), or ``c``: the one value of a constant series; where it was
    thinned ``m``, ``lo``, ``hi``: mean, min and max of each bucket (24 bits).
    """
    steps, values = column.steps, column.values
    thinned = len(steps) > grid.buckets
    if thinned:
        bucket = (steps - grid.first) // grid.width
        starts = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
        ends = np.append(starts[1:], len(steps)) - 1
        steps, values = steps[ends], values[ends]
    if np.ptp(column.values) == 0:
        return {"x": axes.add(steps), "c": float(values[0])}
    packed = {"x": axes.add(steps), "v": b64encode(values.astype("<f8").tobytes()).decode()}
    if thinned:
        mean = np.add.reduceat(column.values, starts) / (ends - starts + 1)
        packed["m"] = pack24(mean)
        packed["lo"] = pack24(np.minimum.reduceat(column.values, starts))
        packed["hi"] = pack24(np.maximum.reduceat(column.values, starts))
    return packed


def pack24(values: Floats) -> str:
    """The upper three bytes of each float32, rounded to nearest."""
    bits = np.clip(values, -LARGEST, LARGEST).astype("<f4").view("<u4") + np.uint32(0x80)
    raw = bits.astype("<u4").view(np.uint8).reshape(-1, 4)
    return b64encode(raw[:, 1:].tobytes()).decode()
