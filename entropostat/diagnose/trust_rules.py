"""Rollouts that come from another policy than the trainer's, and numbers that are none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from entropostat.diagnose import advice
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.log import Log, Series
from entropostat.diagnose.reward_rules import verifiers
from entropostat.diagnose.token_rules import empty_steps
from entropostat.diagnose.windows import LONG, lasting, mean, span

ROWS, START = 8, 10
GAP, TIMES = 0.075, 3.0
"""Mean |log p of the trainer - log p of the sampler| in nats, and over that of the run's start."""
ALWAYS = 0.25
"""Too much, whatever it was at the start."""


def mismatch(log: Log) -> Iterator[Finding]:
    keys = ("trust/sampler_gap", "sampling/sampling_logp_difference/mean")
    gaps = [(key, log.series(key).finite) for key in keys]
    for key, series in gaps:
        if len(series) < ROWS:
            continue
        begin = float(np.median(series.values[:START]))
        average = mean(series.values, ROWS)
        with np.errstate(invalid="ignore"):
            ill = ((average >= GAP) & (average >= TIMES * begin)) | (average >= ALWAYS)
        if not ill.any():
            continue
        steps, last = span(series, ill), int(np.flatnonzero(ill)[-1])
        yield Finding(
            "sampler-mismatch",
            "critical" if average[last] >= ALWAYS else "warning",
            steps,
            f"{key} is {average[last]:.3g} nats (mean of {ROWS}), {begin:.3g} at the start",
            "the sampler's weights are stale or of another precision, or its sampling is truncated (top_p, top_k, min_p)",
            advice.mismatch(log),
        )
        return


MANY, NEAR = 4, 15
SOME, WIDE = 5, 30
IN_A_ROW = 3
LATER = (8, 60)
"""So many in so many rows, in a log of more than LONG rows."""


def non_finite(log: Log) -> Iterator[Finding]:
    # Where the verifiers are logged, a reward that is none is a reward that is missing, and no overflow.
    keys = ("loss", "grad_norm", "entropy", "kl", *([] if verifiers(log) else ["reward"]))
    parts = [log.series(key) for key in keys]
    steps = np.unique(np.concatenate([part.steps for part in parts]))
    bad = np.zeros(len(steps), bool)
    names = []
    for key, part in zip(keys, parts, strict=True):
        sick = np.setdiff1d(part.steps[~np.isfinite(part.values)], empty_steps(log))
        if len(sick):
            bad |= np.isin(steps, sick)
            names.append(key)
    skipped = log.series("health/nonfinite").finite
    if len(skipped) > 1:
        jumps = skipped.steps[1:][np.diff(skipped.values) > 0]
        if len(jumps):
            bad |= np.isin(steps, jumps)
            names.append("health/nonfinite")
    if not bad.any():
        return
    count, ends = np.concatenate([[0], np.cumsum(bad)]), np.arange(1, len(steps) + 1)

    def within(rows: int) -> np.ndarray:
        """Bad ones among the last so many rows."""
        return np.asarray(count[ends] - count[np.maximum(ends - rows, 0)])

    ill = np.zeros(len(steps), bool)
    for many, near in ((MANY, NEAR), (SOME, WIDE)):
        ill |= bad & (within(near) >= many)
    ill |= lasting(bad, IN_A_ROW)
    # A long run has single ones, as half precision does, that come close together now and then.
    ill[LONG:] &= (within(LATER[1]) >= LATER[0])[LONG:]
    if not ill.any():
        return
    series = Series(steps, bad.astype(float))
    where = span(series, ill)
    yield Finding(
        "non-finite",
        "critical",
        where,
        f"{int(bad.sum())} logged steps without a finite number, in {', '.join(names)}",
        "a loss or gradient that overflows: the learning rate, the precision, or a log-ratio without bound",
        advice.non_finite(log),
    )
