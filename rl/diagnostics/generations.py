"""The laws of entropy, held against what a run's generations have shown so far.

    law of reward      R = -a exp(H) + b over all generations (law.py), with the ceiling that it foretells
    Theorem 2          the entropy of the next generation less that of this one is -eta Cov(log pi, A)      natural gradient
    Theorem 1          is -eta Cov(log pi, pi A)                                                            policy gradient

Cui et al., arXiv:2505.22617. The theorems are of a tabular softmax and an expectation over the policy; here the covariance is
that over the tokens of the generation, and eta, which nobody knows for shared weights, is learned: least squares through 0 over the
last RECENT pairs. The correlation needs no eta, and says whether the theorem foretells anything here. Another generation has other
prompts: that is noise of the realised change. The reward is what the verifiers gave, the entropy per sequence first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from entropostat.rl.diagnostics.law import LEAST, fit

KEPT = 1024
"""Generations that are remembered."""
RECENT = 64


class Generation(NamedTuple):
    """Means of one; None where nothing was measured."""

    entropy: float | None = None
    reward: float | None = None
    covariance: float | None = None
    weighted: float | None = None
    """Covariance of Theorem 1."""


def measured(*values: float) -> Generation:
    """Of numbers, in the order of the fields; NaN and infinities are no measurement."""
    return Generation(*[value if math.isfinite(value) else None for value in values])


def law_of_reward(past: Sequence[Generation]) -> dict[str, float]:
    """{} for too few generations, or where entropy stands still."""
    points = [(g.entropy, g.reward) for g in past if g.entropy is not None and g.reward is not None]
    if len(points) < LEAST:
        return {}
    found = fit(*zip(*points, strict=True))
    told = {"a": found.a, "r2": found.r2, "ceiling": found.ceiling}
    return told | {"ceiling_low": found.low, "ceiling_high": found.high}


def theorems(past: Sequence[Generation]) -> dict[str, float]:
    """Nats a generation, and correlations of the foretold with the realised."""
    told: dict[str, float] = {}
    realised = _changes(past[-2:], "covariance")
    if realised:
        told["realised"] = realised[0][1]
    for name, suffix in (("covariance", ""), ("weighted", "_weighted")):
        pairs = _changes(past[-RECENT - 1 :], name)
        if len(pairs) < LEAST:
            continue
        told[f"agreement{suffix}"] = correlation(pairs)
        xx, xy = math.fsum(x * x for x, _ in pairs), math.fsum(x * y for x, y in pairs)
        newest = getattr(past[-1], name)
        if xx > 0 and newest is not None:
            told[f"predicted{suffix}"] = xy / xx * -newest
    return told


def _changes(past: Sequence[Generation], name: str) -> list[tuple[float, float]]:
    """(minus the covariance of a generation, change of the entropy to the next)."""
    found = []
    for before, after in pairwise(past):
        covariance = getattr(before, name)
        if covariance is not None and before.entropy is not None and after.entropy is not None:
            found.append((-covariance, after.entropy - before.entropy))
    return found


def correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson's; NaN where one of the two stands still."""
    x, y = (list(values) for values in zip(*pairs, strict=True))
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    xx, yy = math.fsum((v - mean_x) ** 2 for v in x), math.fsum((v - mean_y) ** 2 for v in y)
    xy = math.fsum((v - mean_x) * (w - mean_y) for v, w in pairs)
    return xy / math.sqrt(xx * yy) if xx > 0 and yy > 0 else math.nan
