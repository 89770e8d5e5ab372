"""A value that follows the training step.

Piecewise between ``points`` [[step, value], ...], joined by straight lines, half cosines or kept constant (``hold``).
With ``unit: fraction`` the first number of a point is a fraction of the run instead of a step. Up and down again is three
points: ``points: [[0, 0], [0.1, 0.02], [1, 0]], unit: fraction``.

With ``of: initial`` the second number of a point is a fraction of what ``initial_signal`` was at the start of the run:

    value = point(step) * H0,   H0 = mean of the first ``settle`` measurements

so that one recipe fits models whose entropies differ. Until H0 is known the value is ``start``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entropostat.rl.controllers.measure import measurement
from entropostat.rl.info import State
from entropostat.rl.needs import when
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register("schedule", paper="arXiv:1608.03983")
@dataclass(frozen=True)
class Schedule(Controller):
    """Open loop: the value at the current step, interpolated between points; constant before the first and after the last.

    The half-cosine form is that of Loshchilov and Hutter, SGDR, arXiv:1608.03983. With ``of: initial`` watch that the
    first ``settle`` updates are typical of the start: a warm-up of the learning rate makes them so.
    """

    points: tuple[tuple[float, float], ...] = option(doc="[[step, value], ...] in ascending order of step")
    shape: str = option("linear", choices=("linear", "cosine", "hold"), doc="how two points are joined")
    unit: str = option("steps", choices=("steps", "fraction"), doc="what the first number of a point counts")
    of: str = option("value", choices=("value", "initial"), doc="initial: values are fractions of the initial signal")
    initial_signal: str = option(
        "entropy", doc="which signal's initial value, with of: initial", only=when(of="initial")
    )
    settle: int = option(5, low=1, doc="measurements that make the initial value")
    start: float = option(0.0, fixed=True, doc="value until the initial one is known")

    def __post_init__(self) -> None:
        if not self.points or any(len(p) != 2 for p in self.points):
            raise ValueError(f"schedule.points: {self.points!r} must be a list of [step, value] pairs")
        steps = [p[0] for p in self.points]
        if steps != sorted(set(steps)):
            raise ValueError(f"schedule.points: the steps {steps} must ascend")

    @property
    def _clock(self) -> str:
        return "step" if self.unit == "steps" else "progress"

    @property
    def signals(self) -> tuple[str, ...]:
        return (self._clock, self.initial_signal) if self.of == "initial" else (self._clock,)

    def init(self) -> State:
        if self.of == "initial":
            return {"output": self.start, "initial": 0.0, "settled": 0.0}
        return {"output": self._value_at(0.0)}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        x = signals.get(self._clock, math.nan)
        if self.of == "value":
            value = self._value_at(x) if math.isfinite(x) else state["output"]
            return {"output": value}, value
        state = settling(self, state, measurement(signals, self.initial_signal))
        value = state["output"]
        if math.isfinite(x) and known(self, state):
            value = self._value_at(x) * state["initial"]
        return {**state, "output": value}, value

    def _value_at(self, x: float) -> float:
        if x <= self.points[0][0]:
            return float(self.points[0][1])
        for (x0, y0), (x1, y1) in zip(self.points[:-1], self.points[1:], strict=True):
            if x < x1:
                share = (x - x0) / (x1 - x0)
                if self.shape == "hold":
                    share = 0.0
                elif self.shape == "cosine":
                    share = (1 - math.cos(math.pi * share)) / 2
                return float(y0 + share * (y1 - y0))
        return float(self.points[-1][1])


def settling(schedule: Schedule, state: State, signal: float) -> State:
    """The state with one more measurement in the initial value, if it still wants one."""
    count = state["settled"]
    if known(schedule, state) or math.isnan(signal):
        return state
    initial = state["initial"] + (signal - state["initial"]) / (count + 1)
    return {**state, "initial": initial, "settled": count + 1}


def known(schedule: Schedule, state: State) -> bool:
    """Whether there is an initial value, if it wants one."""
    return schedule.of == "value" or state["settled"] >= schedule.settle
