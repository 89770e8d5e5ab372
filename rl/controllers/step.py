"""Adaptive entropy coefficient by fixed steps (Skywork-OR1's MAGIC).

    H <= target:  c += delta, else c -= delta, clipped to [low, high];  applied: c while H <= target, else 0

He et al. 2025, Skywork Open Reasoner 1, arXiv:2505.22312. ``compare: le`` is TRL 1.16's rule (``use_adaptive_entropy``,
to the digit: exact entropy of the last window, defaults delta 0.005, high 1). ``compare: lt`` is the released code's,
whose signal is the sampled negative log-prob and whose scripts use delta 1e-4, high 0.005.

Not to be confused with a step of the optimizer, nor with ``optimizer.step_radius``, which shortens one.
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


@CONTROLLERS.register("step", paper="arXiv:2505.22312", reference="TRL 1.16; SkyworkAI/Skywork-OR1 core_algos.py:56")
@dataclass(frozen=True)
class Step(Controller):
    """Raise the coefficient by a fixed step while the signal is at or below the target, lower it otherwise.

    One-sided: it prevents collapse and cannot push entropy down. Slow by design: it moves ``delta`` per update.
    """

    signal: str = option("entropy", doc="what is measured")
    target: float | Mapping[str, Any] = option(
        0.2, fixed=True, doc="set point, in the signal's unit: a number, or {schedule: {points: ...}}"
    )
    delta: float = option(0.005, above=0.0, fixed=True, doc="change per update (TRL 0.005, Skywork 1e-4)")
    low: float = option(0.0, fixed=True, doc="lower bound of the coefficient")
    high: float = option(1.0, fixed=True, doc="upper bound of the coefficient (TRL 1, Skywork 0.005)")
    start: float = option(0.0, fixed=True, doc="coefficient before the first measurement; not applied until then")
    compare: str = option("le", choices=("le", "lt"), doc="le: TRL's comparison; lt: Skywork's")

    def __post_init__(self) -> None:
        signals_of(self.target)

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal, *signals_of(self.target))

    def init(self) -> State:
        return {"coefficient": self.start, "output": 0.0}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        remembered, target = resolve(self.target, state, signals)
        measured = measurement(signals, self.signal)
        if math.isnan(measured):
            return missing({**state, **remembered})
        if math.isnan(target):
            return {**state, **remembered, **MEASURED}, state["output"]
        below = measured <= target if self.compare == "le" else measured < target
        coefficient = state["coefficient"] + (self.delta if below else -self.delta)
        coefficient = min(max(coefficient, self.low), self.high)
        output = coefficient if below else 0.0
        new = {"coefficient": coefficient, "output": output, "signal": measured, "target": target}
        return {**remembered, **new, "error": measured - target}, output
