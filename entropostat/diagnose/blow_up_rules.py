"""Numbers that are finite and mean nothing any more."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from entropostat.diagnose import advice
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.log import Log, Series
from entropostat.diagnose.windows import Flags, size_in_rows, span

TIMES_SEEN, NEAR = 3, 10
"""Rows that are too large, among so many."""
KL, KL_TIMES = 10.0, 10.0
"""Nats a token, and over the median of the start."""
GRADIENT, GRADIENT_TIMES = 100.0, 100.0
START = 8


def kl_blow_up(log: Log) -> Iterator[Finding]:
    yield from _blow_up(
        log,
        "kl",
        KL,
        KL_TIMES,
        "kl-blow-up",
        "critical",
        "nats a token: the policy finds impossible what the reference writes, or the other way round; an estimator is beyond its range",
    )


def gradient_blow_up(log: Log) -> Iterator[Finding]:
    yield from _blow_up(
        log,
        "grad_norm",
        GRADIENT,
        GRADIENT_TIMES,
        "gradient-blow-up",
        "warning",
        "before clipping: a loss or a ratio without bound; each step then has the length that max_grad_norm gives it, and a random direction",
    )


def _blow_up(log: Log, key: str, least: float, times: float, rule: str, severity: str, means: str) -> Iterator[Finding]:
    series = log.series(key).finite
    usual = _usual(series)
    bad = np.abs(series.values) >= max(least, times * usual)
    ill = _often(bad)
    if not ill.any():
        return
    largest = float(np.abs(series.values).max())
    yield Finding(
        rule,
        severity,  # type: ignore[arg-type]
        span(series, ill),
        f"{key} is up to {largest:.3g} on {int(bad.sum())} logged steps, {usual:.3g} at the start",
        means,
        advice.smaller_steps(log),
    )


def _usual(series: Series) -> float:
    """Median of what is not 0 at the start."""
    first = np.abs(series.values[: size_in_rows(series, START, 3)])
    return float(np.median(first[first > 0])) if (first > 0).any() else 0.0


def _often(bad: Flags) -> Flags:
    count = np.concatenate([[0], np.cumsum(bad)])
    ends = np.arange(1, len(bad) + 1)
    return np.asarray(bad & (count[ends] - count[np.maximum(ends - NEAR, 0)] >= TIMES_SEEN))
