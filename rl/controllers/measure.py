"""What a closed loop does with a measurement before it acts on it: cut it, smooth it, wait, and go without."""

from __future__ import annotations

import math
from collections.abc import Mapping

from entropostat.rl.info import State

ALARM = 10
"""Updates in a row without a measurement that raise the alarm, of a controller that has no option for it."""
HUGE = 1e100
"""Measurements are cut here, so that no product with a gain is infinite and no difference NaN."""
MEASURED: State = {"missed": 0.0, "alarm": 0.0}
"""What a measurement ends."""


def measurement(signals: Mapping[str, float], name: str) -> float:
    """The signal, or NaN where it is missing or not finite."""
    x = signals.get(name, math.nan)
    return cut(x, HUGE) if math.isfinite(x) else math.nan


def cut(x: float, bound: float | None) -> float:
    return x if bound is None else min(max(x, -bound), bound)


def smoothed(state: State, measured: float, decay: float) -> State:
    """The state with one more measurement in its average, which has no start-up bias."""
    weight = decay * state["weight"] + (1 - decay)
    average = decay * state["average"] + (1 - decay) * measured
    new = {**state, "smoothed": average / weight, "count": state["count"] + 1}
    return new | {"average": average, "weight": weight}


def missing(state: State, alarm: int = ALARM) -> tuple[State, float]:
    """Hold: one more update without a measurement. ``alarm`` in a row are reported as 1."""
    missed = state.get("missed", 0.0) + 1
    return {**state, "missed": missed, "alarm": float(missed >= alarm)}, state["output"]


def crossing(state: State, distance: float, timeout: int | None) -> State:
    """A gate that opens, for good, when the distance to the target changes its sign, or after ``timeout`` measurements."""
    side = math.copysign(1.0, distance) if distance else 0.0
    first = state.get("side", side)
    waited = state.get("waited", 0.0) + 1
    late = timeout is not None and waited > timeout
    met = side != first or side == 0
    return {"side": first, "waited": waited, "gate": float(met or late or bool(state.get("gate", 0.0)))}
