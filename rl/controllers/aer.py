"""A coefficient that leads entropy to a share of its initial value (AER).

    H* = ratio * H0,   H0 = mean entropy of the first ``settle`` measurements
    bang: c += delta if H < H* else c -= delta;   proportional: c += delta (H* - H) / H*;   clipped to [low, high]

Adaptive Entropy Regularization, arXiv:2510.10959: a target below the initial entropy, ratio about 0.4, and a global
coefficient that is led towards it. We know its abstract only: the ratio is
not confirmed, and both rules, their step size and bounds are ours. AER also scales the
coefficient of each sample by the difficulty of its prompt, which a controller of one number does not do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entropostat.rl.controllers.measure import MEASURED, measurement, missing
from entropostat.rl.controllers.schedule import Schedule, known, settling
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register("aer", paper="arXiv:2510.10959")
@dataclass(frozen=True)
class AER(Controller):
    """Let entropy fall to a share of what it was at the start, and hold it there by an entropy bonus.

    Unlike ``step`` the coefficient goes on while entropy is above its target, until it has been led down. It acts only
    once H0 is known. Watch ``saturated``: at the bound ``high`` the bonus is too small for this target.
    """

    ratio: float = option(0.4, above=0.0, fixed=True, doc="target as a share of the initial value")
    rule: str = option("bang", choices=("bang", "proportional"), doc="fixed steps, or steps in proportion to the error")
    delta: float = option(0.001, above=0.0, fixed=True, doc="step of the coefficient per update (ours)")
    signal: str = option("entropy", doc="what is measured")
    settle: int = option(5, low=1, doc="measurements that make the initial value")
    start: float = option(0.0, fixed=True, doc="first coefficient")
    low: float = option(0.0, fixed=True, doc="lower bound of the coefficient")
    high: float = option(0.1, fixed=True, doc="upper bound of the coefficient (ours)")

    def __post_init__(self) -> None:
        if not self.low <= self.start <= self.high:
            raise ValueError(f"aer.start: {self.start:g} must lie in [low, high] = [{self.low:g}, {self.high:g}]")

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal,)

    @property
    def _initial(self) -> Schedule:
        return Schedule(((0.0, self.ratio),), of="initial", initial_signal=self.signal, settle=self.settle)

    def init(self) -> State:
        return {"output": self.start, "initial": 0.0, "settled": 0.0}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        measured = measurement(signals, self.signal)
        if math.isnan(measured):
            return missing(state)
        new = settling(self._initial, state, measured) | {"signal": measured, **MEASURED}
        if not known(self._initial, new):
            return new, state["output"]
        target = self.ratio * new["initial"]
        error = min(max((target - measured) / max(abs(target), 1e-12), -1.0), 1.0)
        step = error if self.rule == "proportional" else 1.0 if measured < target else -1.0
        raw = state["output"] + self.delta * step
        output = min(max(raw, self.low), self.high)
        new |= {"target": target, "error": error, "output": output, "saturated": float(raw != output)}
        return new, output
