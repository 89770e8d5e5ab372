"""A coefficient that moves by its logarithm, slowly, after a long average of the error.

    k <- smoothing k + (1 - smoothing) signal
    every ``every``-th update:   e = k / target - 1, or 0 inside the dead zone;   a <- error_smoothing a + (1 - error_smoothing) e
                                 log beta <- log beta + rate clip(a, -clip, clip),   beta in [low, high]

The KL control of ARES, arXiv:2510.08457, with the released code's constants. There k starts at the first measurement, one
state for each bucket of prompts and for each rank; here the same on all ranks. It calls once per micro-batch, we once per
applied step. With these constants beta changes by 1 to 3 % in 400 updates: raise ``rate``, or lower ``every``, for a loop
that is to hold something.

What we changed: a missing or NaN signal holds, as in a step without a prompt of that bucket.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropostat.rl.controllers.measure import MEASURED, cut, measurement, missing
from entropostat.rl.controllers.target import passes_zero, resolve, signals_of
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register(
    "log_beta", paper="arXiv:2510.08457", reference="shawn0728/ARES @146620e workers/actor/dp_actor.py:61"
)
@dataclass(frozen=True)
class LogBeta(Controller):
    """Raise a KL coefficient while the KL is above its target, lower it below, by a share of itself that is bounded.

    Rests in a band around the target, and moves by at most exp(rate clip) in ``every`` updates.
    """

    target: float | Mapping[str, Any] = option(
        0.01, fixed=True, doc="set point, in the signal's unit: a number, or {schedule: {points: ...}}"
    )
    signal: str = option("kl", doc="what is measured")
    start: float = option(1.0, above=0.0, fixed=True, doc="first value")
    smoothing: float = option(0.97, low=0.0, below=1.0, fixed=True, doc="decay of the average of the signal")
    every: int = option(100, low=1, doc="updates from one change to the next")
    dead_zone: float = option(0.02, low=0.0, fixed=True, doc="relative error that counts as none")
    error_smoothing: float = option(0.97, low=0.0, below=1.0, fixed=True, doc="decay of the average of the error")
    rate: float = option(0.05, low=0.0, high=1.0, fixed=True, doc="change of the logarithm per unit of that average")
    clip: float = option(0.2, above=0.0, high=100.0, fixed=True, doc="bound of that average where it acts")
    low: float = option(1e-4, above=0.0, fixed=True, doc="lower bound of the value")
    high: float = option(100.0, above=0.0, fixed=True, doc="upper bound of the value")

    def __post_init__(self) -> None:
        if not self.low <= self.start <= self.high:
            raise ValueError(f"log_beta.start: {self.start:g} must lie in [{self.low:g}, {self.high:g}]")
        if passes_zero(self.target):
            raise ValueError("log_beta.target: 0 has no relative error")

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal, *signals_of(self.target))

    def init(self) -> State:
        return {"output": self.start, "count": 0.0, "error_average": 0.0}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        remembered, target = resolve(self.target, state, signals)
        measured = measurement(signals, self.signal)
        if math.isnan(measured):
            return missing({**state, **remembered})
        if math.isnan(target) or not target:
            return {**state, **remembered, **MEASURED}, state["output"]
        before = state.get("smoothed", measured)
        smoothed = self.smoothing * before + (1 - self.smoothing) * measured
        error = smoothed / target - 1
        new = {**state, "count": state["count"] + 1, "smoothed": smoothed, "error": error}
        new |= {"signal": measured, "target": target}
        if new["count"] % self.every == 0:
            counted = 0.0 if abs(error) < self.dead_zone else error
            average = self.error_smoothing * state["error_average"] + (1 - self.error_smoothing) * counted
            output = state["output"] * math.exp(self.rate * cut(average, self.clip))
            new |= {"error_average": average, "output": min(max(output, self.low), self.high)}
        return {**new, **remembered, **MEASURED}, new["output"]
