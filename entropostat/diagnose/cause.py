"""Which term moved entropy, as far as the log tells: forces/<term>/entropy, its share, and the loops' outputs."""

from __future__ import annotations

import numpy as np

from entropostat.diagnose.log import Log

LOOK_BACK = 30
"""Rows before the first step of a finding in which the movement happened."""
RESERVED = ("covariance",)


def mover(log: Log, steps: tuple[int, int], direction: str) -> str:
    """``direction`` up or down. Sums each term's first-order push on entropy up to the finding."""
    sign = 1.0 if direction == "up" else -1.0
    pushes: dict[str, float] = {}
    for term in log.middles("forces/", "/entropy"):
        series = log.series(f"forces/{term}/entropy").finite
        end = int(series.count(steps[0]))
        if end and term not in RESERVED:
            pushes[term] = float(series.values[max(end - LOOK_BACK, 0) : end].sum())
    right = {term: push for term, push in pushes.items() if push * sign > 0}
    if right:
        term = max(right, key=lambda name: abs(right[name]))
        against = [f"{name} {push:+.3g}" for name, push in sorted(pushes.items()) if name != term]
        told = f"{term} pushed entropy {direction}: {pushes[term]:+.3g} nats over the {LOOK_BACK} rows before, to first order"
        return told + (f" (the others: {', '.join(against)})" if against else "") + _share(log, term, steps)
    knobs = [name for name in log.middles("control/", "/output") if _at_bound(log, name, steps)]
    if knobs:
        return f"not in the log as a force; the loop on {', '.join(knobs)} was at its bound and could not stop it"
    if log.trainer:
        return f"what pushed it there is not in a log of {log.trainer}"
    return "not in the log: forces/<term>/entropy is missing or does not point that way"


def _share(log: Log, term: str, steps: tuple[int, int]) -> str:
    series = log.series(f"forces/{term}/share").finite
    end = int(series.count(steps[0]))
    if not end:
        return ""
    return f"; its share of the force was {float(np.mean(series.values[max(end - LOOK_BACK, 0) : end])):.0%}"


def _at_bound(log: Log, knob: str, steps: tuple[int, int]) -> bool:
    series = log.series(f"control/{knob}/saturated").finite
    end = int(series.count(steps[0]))
    return bool(end) and float(series.values[max(end - LOOK_BACK, 0) : end].mean()) > 0.5
