"""PID control of a coefficient, in position form.

    e = clip(sign * (target - s) / scale, -error_clip, error_clip),  s the smoothed signal
    u = kp e + I + kd d,  I += ki e * dt but not beyond where the value meets its bound,  d = -sign * ds / (scale dt)
    space linear: value = clip(start + u, low, high);   space log: value = clip(start * exp(u), low, high)

sign is +1 where raising the coefficient raises the signal (an entropy bonus on entropy), -1 where it lowers it (a KL
penalty on KL): declare it by ``effect``. Derivative on the measurement, so that a change of target gives no kick. The
smoothing is an exponential average without start-up bias. ``dt`` counts measurements since the last update, so that a
skipped one does not lose integral. A missing or NaN signal holds the output and freezes the integral.

Position form on the logarithm, conditional integration and a positive lower bound are our choice for KL coefficients:
Ziegler's rule (arXiv:1909.08593) has neither integral nor bounds, Stooke's (arXiv:2007.03964) is linear.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entropostat.rl.registry import CONTROLLERS, option

State = dict[str, float]


@CONTROLLERS.register("pid", paper="arXiv:2007.03964")
@dataclass(frozen=True)
class PID:
    """Hold a signal at a target by a proportional, an integral and a derivative part, with anti-windup.

    Saturation is reported: a controller that sits on a bound is not holding its target.
    """

    signal: str = option(doc="what is measured: entropy, kl, reward, ...")
    target: float = option(fixed=True, doc="set point, in the signal's unit")
    kp: float = option(0.0, low=0.0, fixed=True, doc="proportional gain")
    ki: float = option(0.0, low=0.0, fixed=True, doc="integral gain, per update")
    kd: float = option(0.0, low=0.0, fixed=True, doc="derivative gain")
    effect: str = option("raises", choices=("raises", "lowers"), doc="what a larger value does to the signal")
    error: str = option("relative", choices=("relative", "absolute"), doc="scale: |target|, or 1")
    error_clip: float = option(1.0, above=0.0, fixed=True, doc="bound of |e|")
    space: str = option("linear", choices=("linear", "log"), doc="what u is added to: the value or its logarithm")
    start: float = option(0.0, fixed=True, doc="value at u = 0, applied until the first measurement")
    low: float = option(0.0, fixed=True, doc="lower bound of the value")
    high: float = option(1.0, fixed=True, doc="upper bound of the value")
    smoothing: float = option(0.0, low=0.0, below=1.0, fixed=True, doc="decay of the average of the signal; 0: none")
    warmup: int = option(0, low=0, doc="measurements to wait before acting")

    def __post_init__(self) -> None:
        if not self.low <= self.start <= self.high:
            raise ValueError(f"pid.start: {self.start:g} must lie in [low, high] = [{self.low:g}, {self.high:g}]")
        if self.space == "log" and self.low <= 0:
            raise ValueError(f"pid.low: {self.low:g} must be above 0 with space: log, or the value can never recover")
        if self.error == "relative" and self.target == 0:
            raise ValueError("pid.target: 0 has no relative error; use error: absolute")

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal,)

    def init(self) -> State:
        return {"output": self.start, "integral": 0.0, "average": 0.0, "weight": 0.0, "count": 0.0, "missed": 0.0}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        measured = signals.get(self.signal, math.nan)
        if not math.isfinite(measured):
            return {**state, "missed": state["missed"] + 1}, state["output"]
        weight = self.smoothing * state["weight"] + (1 - self.smoothing)
        average = self.smoothing * state["average"] + (1 - self.smoothing) * measured
        smooth, count = average / weight, state["count"] + 1
        new = {**state, "signal": measured, "smoothed": smooth, "target": self.target}
        new |= {"average": average, "weight": weight, "count": count, "missed": 0.0}
        if count <= self.warmup:
            return new, state["output"]

        dt = 1 + state["missed"]
        scale = abs(self.target) if self.error == "relative" else 1.0
        sign = 1.0 if self.effect == "raises" else -1.0
        error = min(max(sign * (self.target - smooth) / scale, -self.error_clip), self.error_clip)
        p = self.kp * error
        d = -self.kd * sign * (smooth - state.get("smoothed", smooth)) / (scale * dt)
        integral = state["integral"] + self.ki * error * dt
        raw = self.value(p + integral + d)
        # Winding up would only delay the way back. Stop at the bound, not one update short of it.
        if raw > self.high and error > 0:
            integral = max(state["integral"], self.offset(self.high) - p - d)
        elif raw < self.low and error < 0:
            integral = min(state["integral"], self.offset(self.low) - p - d)
        output = min(max(self.value(p + integral + d), self.low), self.high)
        new |= {"error": error, "p": p, "i": integral, "d": d, "integral": integral, "output": output}
        return {**new, "saturated": float(not self.low <= raw <= self.high)}, output

    def value(self, u: float) -> float:
        return self.start * math.exp(min(max(u, -60.0), 60.0)) if self.space == "log" else self.start + u

    def offset(self, value: float) -> float:
        """The u at which the output is ``value``."""
        return math.log(value / self.start) if self.space == "log" else value - self.start
