"""ADAPO: the upper bound of the ratio widens while entropy is below its target and narrows while above.

    s < target: value <- min(value factor, high);   s > target: value <- max(value / factor, low)
    with ``effect: lowers`` the other way round; no change within ``band`` |target| of it

Adaptive asymmetric clipping of Entropy-Preserving Reinforcement Learning, arXiv:2603.11682: epsilon_high of PPO's clip is
steered to a target entropy. That is all that is known of it; rule, factor and bounds are ours and not confirmed. By the same
paper REPO's zeta is halved and doubled: ``factor: 2`` on ``repo.zeta``.

Why epsilon_high: a bound that takes the gradient of rewarded tokens which have grown lowers entropy where those are rare, and
one that takes it of punished tokens which have shrunk raises it (arXiv:2509.26114). So a larger ``epsilon_high`` raises
entropy, and a larger ``epsilon`` lowers it (``effect: lowers``). Neither acts where a generation serves one update.

Not to be confused with DAPO, whose clip bounds are fixed.
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


@CONTROLLERS.register("adapo", paper="arXiv:2603.11682")
@dataclass(frozen=True)
class Adapo(Controller):
    """Widen a clip bound by a factor while entropy is too low, narrow it while too high.

    Two-sided, by steps of constant ratio, and without memory of the error's size: it cycles around its target by about one
    factor. Watch ``saturated``: at a bound it is not holding its target.
    """

    target: float | Mapping[str, Any] = option(
        fixed=True, doc="set point, in the signal's unit: a number, or {schedule: {points: ...}}"
    )
    signal: str = option("entropy", doc="what is measured")
    factor: float = option(1.1, above=1.0, fixed=True, doc="ratio of two values in a row (ours; REPO's zeta: 2)")
    effect: str = option("raises", choices=("raises", "lowers"), doc="what a larger value does to the signal")
    band: float = option(0.0, low=0.0, fixed=True, doc="share of |target| around it in which nothing moves")
    start: float = option(0.2, above=0.0, fixed=True, doc="first value")
    low: float = option(0.1, above=0.0, fixed=True, doc="lower bound of the value (ours)")
    high: float = option(0.5, above=0.0, fixed=True, doc="upper bound of the value (ours)")

    def __post_init__(self) -> None:
        if not self.low <= self.start <= self.high:
            raise ValueError(f"adapo.start: {self.start:g} must lie in [low, high] = [{self.low:g}, {self.high:g}]")
        signals_of(self.target)

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal, *signals_of(self.target))

    def init(self) -> State:
        return {"output": self.start}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        remembered, target = resolve(self.target, state, signals)
        measured = measurement(signals, self.signal)
        if math.isnan(measured):
            return missing({**state, **remembered})
        new = {**state, **remembered, **MEASURED, "signal": measured}
        if math.isnan(target):
            return new, state["output"]
        error = target - measured
        wanted = 0.0 if abs(error) <= self.band * abs(target) else math.copysign(1.0, error)
        raw = state["output"] * self.factor ** (wanted if self.effect == "raises" else -wanted)
        output = min(max(raw, self.low), self.high)
        new |= {"target": target, "error": -error, "output": output, "saturated": float(raw != output)}
        return new, output
