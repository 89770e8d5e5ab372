"""EntroPIC's rule for the tilt between right and wrong completions.

    e = H - target;  alpha = kp e + I;  I <- I + ki e after it was read

EntroPIC, arXiv:2511.15248, as re-implemented in Entrocraft's code (kp 1, ki 0.01, target 0.5); the authors' own gains are
not confirmed. The integral excludes the current error. Positive above the target: meant for
``advantages: [grpo, entropic: {alpha: ...}]``, where a positive alpha lowers entropy.

What we changed: the integral stops at +-``limit`` (null: none, as the code), or hours above the target would take hours
to unwind; and a missing or NaN signal holds.

Not to be confused with the advantage of the same name, whose alpha it sets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropostat.rl.controllers.measure import MEASURED, measurement, missing
from entropostat.rl.controllers.target import resolve, signals_of
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register("entropic", paper="arXiv:2511.15248", reference="lblaoke/entrocraft core_algos.py:498")
@dataclass(frozen=True)
class EntropicRule(Controller):
    """Proportional-integral tilt on the entropy error, positive where entropy is above its target.

    Two-sided: it also drives entropy down. The term cuts what it applies at its own bound.
    """

    signal: str = option("entropy", doc="what is measured")
    target: float | Mapping[str, Any] = option(
        0.5, fixed=True, doc="set point, in the signal's unit: a number, or {schedule: {points: ...}}"
    )
    kp: float = option(1.0, low=0.0, fixed=True, doc="proportional gain")
    ki: float = option(0.01, low=0.0, fixed=True, doc="integral gain, per update")
    limit: float | None = option(0.9, above=0.0, fixed=True, doc="bound of the integral; null: none, as the code")

    def __post_init__(self) -> None:
        signals_of(self.target)

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal, *signals_of(self.target))

    def init(self) -> State:
        return {"integral": 0.0, "output": 0.0}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        remembered, target = resolve(self.target, state, signals)
        measured = measurement(signals, self.signal)
        if math.isnan(measured):
            return missing({**state, **remembered})
        if math.isnan(target):
            return {**state, **remembered, **MEASURED}, state["output"]
        error = measured - target
        output = self.kp * error + state["integral"]
        integral = state["integral"] + self.ki * error
        if self.limit is not None:
            integral = min(max(integral, -self.limit), self.limit)
        new = {"integral": integral, "output": output, "signal": measured, "target": target, "error": error}
        return {**remembered, **new}, output
