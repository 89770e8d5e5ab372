"""The law R = -a exp(H) + b between entropy and reward, and how far it can be believed.

Ordinary least squares of R on x = -exp(H), Cui et al., arXiv:2505.22617, section 2: a is what a nat buys, and b - a the reward
that is left when all entropy is spent, at H = 0: the ceiling. The paper fits the first 15 % of a run and foretells the rest,
for runs that nothing holds up; with an entropy bonus, a clip of covariances or a KL, no relation was seen. It means entropy per
sequence first, on the training rollouts, and held-out accuracy; live it is the reward of the same rollouts.

The band around the ceiling is that of the mean at x = -1, two-sided 95 %, with what plain least squares would leave out: the
residuals of consecutive generations are alike (first-order autocorrelation rho), so that n points are worth n (1 - rho) / (1 + rho).
It grows with the distance of x = -1 from the points. It says nothing of whether the law itself goes on to hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LEAST = 8
"""Points, fewer of which are worth no band."""


@dataclass(frozen=True)
class Fit:
    """NaN where the points do not say."""

    a: float
    b: float
    rmse: float
    r2: float
    low: float
    """End of the 95 % band around the ceiling."""
    high: float

    @property
    def ceiling(self) -> float:
        """Reward at H = 0."""
        return self.b - self.a

    def at(self, entropy: float) -> float:
        return self.b - self.a * math.exp(entropy)


def fit(entropies: Sequence[float], rewards: Sequence[float]) -> Fit:
    """Of the pairs of which both are finite, in the order in which they came."""
    pairs = [(-math.exp(h), r) for h, r in zip(entropies, rewards, strict=True) if math.isfinite(h + r) and h < 100]
    n = len(pairs)
    if n < 2:
        return Fit(*[math.nan] * 6)
    mean_x, mean_y = (math.fsum(values) / n for values in zip(*pairs, strict=True))
    centred = [(x - mean_x, y - mean_y) for x, y in pairs]
    xx, xy, yy = (math.fsum(p) for p in zip(*((x * x, x * y, y * y) for x, y in centred), strict=True))
    if xx <= 1e-20 * n * max(mean_x * mean_x, 1.0):
        return Fit(*[math.nan] * 6)
    a = xy / xx
    b = mean_y - a * mean_x
    errors = [y - a * x for x, y in centred]
    squares = math.fsum(e * e for e in errors)
    r2 = 1 - squares / yy if yy > 0 else math.nan
    half = _half_width(errors, squares, n, xx, mean_x)
    return Fit(a, b, math.sqrt(squares / n), r2, b - a - half, b - a + half)


def _half_width(errors: Sequence[float], squares: float, n: int, xx: float, mean_x: float) -> float:
    if n < LEAST:
        return math.nan
    rho = math.fsum(e * f for e, f in pairwise(errors)) / squares if squares > 0 else 0.0
    rho = min(max(rho, 0.0), 0.99)  # what swings is not taken for more points than there are
    worth = (1 - rho) / (1 + rho)
    free = max(n * worth - 2, 1.0)
    variance = squares * worth / free  # of one point
    leverage = 1 / (n * worth) + (1 + mean_x) ** 2 / (xx * worth)
    return student(free) * math.sqrt(variance * leverage)


def student(free: float) -> float:
    """The 97.5 % quantile of Student's t with ``free`` degrees of freedom, not below 1: exact for 1 and 2, else a series that is off
    by 1 % at 3 and by less above (Cornish and Fisher)."""
    if free < 2:  # between Cauchy's and that of 2
        return 12.7062 + (free - 1) * (4.3027 - 12.7062)
    if free < 3:
        return 4.3027 + (free - 2) * (3.1824 - 4.3027)
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / free ** (k + 1) for k, term in enumerate(terms))
