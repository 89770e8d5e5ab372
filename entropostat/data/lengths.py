"""Lengths in tokens: quantiles and a histogram of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

QUANTILES = (0.5, 0.9, 0.99)
BINS, WIDTH = 10, 40
"""Lines of a histogram, and characters of its longest bar."""


@dataclass(frozen=True)
class Lengths:
    """Of at least one text."""

    count: int
    shortest: int
    longest: int
    quantiles: dict[float, int]
    """Share -> the length that so many do not exceed."""
    bins: tuple[tuple[int, int, int], ...]
    """(first length, last length, how many)."""

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Lengths:
        ranked = sorted(lengths)
        quantiles = {share: ranked[math.ceil(share * len(ranked)) - 1] for share in QUANTILES}
        step = next(size for size in _round() if (ranked[-1] // size) - (ranked[0] // size) < BINS)
        counts: dict[int, int] = dict.fromkeys(range(ranked[0] // step, ranked[-1] // step + 1), 0)
        for length in ranked:
            counts[length // step] += 1
        bins = tuple((place * step, (place + 1) * step - 1, count) for place, count in counts.items())
        return cls(len(ranked), ranked[0], ranked[-1], quantiles, bins)

    def lines(self) -> list[str]:
        """Plain ASCII: any terminal shows it."""
        most = max(count for _, _, count in self.bins)
        names = [f"{low}" if low == high else f"{low}-{high}" for low, high, _ in self.bins]
        wide, digits = max(map(len, names)), max(len(f"{count:,}") for _, _, count in self.bins)
        bars = [("#" * max(round(WIDTH * count / most), 1) if count else "") for _, _, count in self.bins]
        rows = zip(names, self.bins, bars, strict=True)
        return [f"{name:>{wide}}  {count:>{digits},}  {bar}".rstrip() for name, (_, _, count), bar in rows]


def _round() -> list[int]:
    """1, 2, 5, 10, 20, ..."""
    return [factor * 10**power for power in range(12) for factor in (1, 2, 5)]
