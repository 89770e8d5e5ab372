"""Steps that had no token to train on: every completion was masked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from entropostat.diagnose import advice
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.log import Floats, Log
from entropostat.diagnose.windows import confirmed, lasting, mean, span

TRAINED = "health/trained_tokens"
IN_A_ROW = 3
ROWS, SHARE = 20, 0.5
"""Logged steps among which so many are empty."""


def nothing_trained(log: Log) -> Iterator[Finding]:
    tokens = log.series(TRAINED).finite
    if not len(tokens):
        return
    empty = tokens.values == 0
    with np.errstate(invalid="ignore"):
        ill = confirmed(lasting(empty, IN_A_ROW) | (mean(empty.astype(float), ROWS) >= SHARE))
    if not ill.any():
        return
    cut = log.series("completions/clipped_ratio").finite
    share = float(cut.values[np.isin(cut.steps, tokens.steps[empty])].mean()) if len(cut) else float("nan")
    truncated = share > 0.5
    yield Finding(
        "nothing-trained",
        "critical",
        span(tokens, empty & (np.cumsum(ill[::-1])[::-1] > 0)),
        f"{int(empty.sum())} of {len(empty)} logged steps had no token to train on; loops hold, and what is measured per token is null",
        f"{share:.0%} of the completions were cut off by the length limit, and mask_truncated_completions leaves those out"
        if truncated
        else "every completion of those steps was masked: truncated, or all of it the output of tools",
        advice.nothing_trained(log, truncated),
    )


def empty_steps(log: Log) -> Floats:
    """Steps at which nothing was trained on: null is right there, and no fault."""
    tokens = log.series(TRAINED).finite
    return np.asarray(tokens.steps[tokens.values == 0], dtype=np.float64)
