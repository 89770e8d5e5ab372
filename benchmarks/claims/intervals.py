"""Intervals of paired differences, and how many seeds one needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t

ALPHA, POWER = 0.05, 0.8
DIFFERENCE = 0.05
"""The difference of success that the bench wants to see."""
MOST = 100_000


class Interval(NamedTuple):
    """Student's 95 % interval of a mean. Without two values it is the whole line."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]" if self.count > 1 else f"{self.mean:+.3f}"


def interval(values: Sequence[float], alpha: float = ALPHA) -> Interval:
    n = len(values)
    centre = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Interval(centre, -math.inf, math.inf, n)
    half = float(t.ppf(1 - alpha / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(centre, centre - half, centre + half, n)


def seeds_needed(deviation: float, difference: float = DIFFERENCE, alpha: float = ALPHA, power: float = POWER) -> int:
    """Pairs of runs until a two-sided t test of paired differences with this deviation sees ``difference`` so often.

    By the usual approximation n = ((t_{1-alpha/2} + t_power) sd / d)^2 with n - 1 degrees of freedom, at least 2.
    """
    for n in range(2, MOST):
        quantiles = t.ppf(1 - alpha / 2, n - 1) + t.ppf(power, n - 1)
        if n >= (quantiles * deviation / difference) ** 2:
            return n
    return MOST


def visible(deviation: float, seeds: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """The difference that so many pairs of runs show."""
    return float((t.ppf(1 - alpha / 2, seeds - 1) + t.ppf(power, seeds - 1)) * deviation / math.sqrt(seeds))
