"""PID control of a coefficient.

    e = clip(sign * (target - s) / scale, -error_clip, error_clip),  s the smoothed signal,  scale = |target| or 1
    form position: u = kp e + I + d,  I += ki e dt;    form velocity: u += kp (e - e') + ki e dt + (d - d')
    d = -kd sign ds / (scale dt);    space linear: value = start + u;    space log: value = start * exp(u)

sign is +1 where raising the coefficient raises the signal (an entropy bonus on entropy), -1 where it lowers it (a KL
penalty on KL): declare it by ``effect``. Derivative on the measurement, so that a change of target gives no kick. The
smoothing is an exponential average without start-up bias. ``dt`` counts measurements since the last update, so that a
skipped one does not lose integral. A missing or NaN signal holds the output and freezes the integral.

The order of an update: the signal is cut at ``measurement_clip``, then smoothed; ``warmup`` and ``gate`` are asked; the
error is scaled, clipped, and shrunk by ``dead_band``; the parts are added; the value is cut to [low, high] and to
``slew`` around the last one; last, anti-windup. ``conditional`` takes no integral that the cut would only swallow: it
stops at the bound. ``back`` lets it in and takes it out again: I += back_gain (u after the cuts - u before them).

Position form on the logarithm, conditional integration and a positive lower bound are our choice for KL coefficients:
Ziegler's rule (arXiv:1909.08593) has neither integral nor bounds, Stooke's (arXiv:2007.03964) is linear.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropostat.rl.controllers.measure import crossing, cut, measurement, missing, smoothed
from entropostat.rl.controllers.target import before_jump, passes_zero, resolve, signals_of
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register("pid", paper="arXiv:2007.03964")
@dataclass(frozen=True)
class PID(Controller):
    """Hold a signal at a target by a proportional, an integral and a derivative part, with anti-windup.

    Saturation is reported: a controller that sits on a bound is not holding its target. So is ``alarm``: it holds its
    last value because nothing is measured. When a gate opens or the target jumps, the integral takes the jump of the
    proportional part, so that the value goes on from where it is; without an integral it jumps. The velocity form has
    nothing to wind up: ``antiwindup`` is inert there, and at a bound it forgets what its proportional part asked for.
    """

    signal: str = option(doc="what is measured: entropy, kl, reward, ...")
    target: float | Mapping[str, Any] = option(
        fixed=True, doc="set point, in the signal's unit: a number, or {schedule: {points: ...}}"
    )
    kp: float = option(0.0, low=0.0, fixed=True, doc="proportional gain")
    ki: float = option(0.0, low=0.0, fixed=True, doc="integral gain, per update")
    kd: float = option(0.0, low=0.0, fixed=True, doc="derivative gain")
    effect: str = option("raises", choices=("raises", "lowers"), doc="what a larger value does to the signal")
    error: str = option("relative", choices=("relative", "absolute"), doc="scale: |target|, or 1")
    error_clip: float = option(1.0, above=0.0, fixed=True, doc="bound of |e|")
    dead_band: float = option(0.0, low=0.0, fixed=True, doc="errors up to here count as 0, larger ones from here")
    space: str = option("linear", choices=("linear", "log"), doc="what u is added to: the value or its logarithm")
    form: str = option("position", choices=("position", "velocity"), doc="velocity: each update adds to the last value")
    start: float = option(0.0, fixed=True, doc="value at u = 0, applied until the first measurement")
    low: float = option(0.0, fixed=True, doc="lower bound of the value")
    high: float = option(1.0, fixed=True, doc="upper bound of the value")
    slew: float | None = option(None, above=0.0, fixed=True, doc="largest change per update, in the unit of u")
    smoothing: float = option(0.0, low=0.0, below=1.0, fixed=True, doc="decay of the average of the signal; 0: none")
    derivative_smoothing: float = option(0.0, low=0.0, below=1.0, fixed=True, doc="decay of the average of d; 0: none")
    measurement_clip: float | None = option(
        None, above=0.0, fixed=True, doc="bound of |signal| before smoothing, times scale; for heavy tails"
    )
    antiwindup: str = option("conditional", choices=("conditional", "back"), doc="how the integral stops at a bound")
    back_gain: float = option(0.5, above=0.0, high=1.0, fixed=True, doc="share of the excess that back takes out")
    warmup: int = option(0, low=0, doc="measurements to wait before acting")
    gate: str = option(
        "none", choices=("none", "crossing"), doc="crossing: wait until the signal first meets the target"
    )
    gate_timeout: int | None = option(None, low=1, doc="measurements after which the gate opens anyway; null: never")
    alarm: int = option(10, low=1, doc="missing measurements in a row that raise the alarm")

    def __post_init__(self) -> None:
        relative = self.error == "relative"
        if not self.low <= self.start <= self.high:
            raise ValueError(f"pid.start: {self.start:g} must lie in [low, high] = [{self.low:g}, {self.high:g}]")
        if self.space == "log" and self.low <= 0:
            raise ValueError(f"pid.low: {self.low:g} must be above 0 with space: log, or the value can never recover")
        if passes_zero(self.target) and relative:
            raise ValueError("pid.target: 0 has no relative error; use error: absolute")
        if relative and self.measurement_clip is not None and self.measurement_clip <= 1:
            raise ValueError(f"pid.measurement_clip: {self.measurement_clip:g} must be above 1, or it hides the error")
        if self.form == "velocity" and self.ki == 0:
            raise ValueError("pid.ki: 0 holds no target with form: velocity, which adds up changes of the error only")

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal, *signals_of(self.target))

    def init(self) -> State:
        return {"output": self.start, "integral": 0.0, "average": 0.0, "weight": 0.0, "count": 0.0, "missed": 0.0}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        remembered, target = resolve(self.target, state, signals)
        state = state | remembered
        measured = measurement(signals, self.signal)
        if math.isnan(measured):
            return missing(state, self.alarm)
        bound = None if self.measurement_clip is None else self.measurement_clip * self._scale(target)
        new = smoothed(state, cut(measured, bound), self.smoothing)
        new |= {"signal": measured, "missed": 0.0, "alarm": 0.0}
        if math.isnan(target):
            return new, state["output"]
        new["target"] = target
        if self.gate == "crossing":
            new |= crossing(new, target - new["smoothed"], self.gate_timeout)
        if new["count"] <= self.warmup or not new.get("gate", 1.0):
            return new, state["output"]
        new |= self._act(state, new, target)
        return new, new["output"]

    def _act(self, state: State, new: State, target: float) -> State:
        """One update of the open loop: what changes."""
        smooth, dt, last = new["smoothed"], 1 + state["missed"], state["output"]
        error = self._error_at(target, smooth)
        p, i = self.kp * error, self.ki * error * dt
        d = -self.kd * self._sign * (smooth - state.get("smoothed", smooth)) / (self._scale(target) * dt)
        d = self.derivative_smoothing * state.get("d", 0.0) + (1 - self.derivative_smoothing) * d
        # The proportional part as it would be now, had the target not jumped: the difference belongs to the integral.
        still = self.kp * self._error_at(before_jump(state, target, self._scale(target)), smooth) if self.ki else p
        opens = self.gate == "crossing" and not (state.get("gate", 0.0) and "error" in state)
        low, high = self._reach(last)
        if self.form == "velocity":
            change = i if opens else still - state.get("p", still) + i + d - state.get("d", d)
            raw = self._value(self._offset(last) + change)
            parts = {"i": i, "output": min(max(raw, low), high)}
        else:
            base = state["integral"] + (still - p)
            if opens and self.ki:
                base = self._offset(last) - p - d
            raw = self._value(p + (base + i) + d)
            parts = self._position(base, i, p, d, (low, high))
        return {"error": error, "p": p, "d": d, **parts, "saturated": float(not self.low <= raw <= self.high)}

    def _position(self, base: float, i: float, p: float, d: float, reach: tuple[float, float]) -> State:
        """Integral and output. Winding up would only delay the way back: stop at the bound, not one update short of it."""
        low, high = reach
        integral = base + i
        raw = self._value(p + integral + d)
        if self.antiwindup == "conditional" and raw > high and i > 0:
            integral = max(base, self._offset(high) - p - d)
        elif self.antiwindup == "conditional" and raw < low and i < 0:
            integral = min(base, self._offset(low) - p - d)
        output = min(max(self._value(p + integral + d), low), high)
        if self.antiwindup == "back" and output != raw:
            integral += self.back_gain * (self._offset(output) - (p + integral + d))
        return {"i": integral, "integral": integral, "output": output}

    @property
    def _sign(self) -> float:
        return 1.0 if self.effect == "raises" else -1.0

    def _scale(self, target: float) -> float:
        return max(abs(target), 1e-12) if self.error == "relative" else 1.0

    def _error_at(self, target: float, signal: float) -> float:
        error = cut(self._sign * (target - signal) / self._scale(target), self.error_clip)
        return math.copysign(max(abs(error) - self.dead_band, 0.0), error)

    def _reach(self, last: float) -> tuple[float, float]:
        """The values that this update may take."""
        if self.slew is None:
            return self.low, self.high
        u = self._offset(last)
        return max(self.low, self._value(u - self.slew)), min(self.high, self._value(u + self.slew))

    def _value(self, u: float) -> float:
        return self.start * math.exp(min(max(u, -60.0), 60.0)) if self.space == "log" else self.start + u

    def _offset(self, value: float) -> float:
        """The u at which the output is ``value``."""
        return math.log(value / self.start) if self.space == "log" else value - self.start
