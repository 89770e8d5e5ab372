"""A value that follows the training step.

Piecewise between ``points`` [[step, value], ...], joined by straight lines, half cosines or kept constant (``hold``).
With ``unit: fraction`` the first number of a point is a fraction of the run instead of a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entropostat.rl.registry import CONTROLLERS, option

State = dict[str, float]


@CONTROLLERS.register("schedule", paper="arXiv:1608.03983")
@dataclass(frozen=True)
class Schedule:
    """Open loop: the value at the current step, interpolated between points; constant before the first and after the last.

    The half-cosine form is that of Loshchilov and Hutter, SGDR, arXiv:1608.03983.
    """

    points: tuple[tuple[float, float], ...] = option(doc="[[step, value], ...] in ascending order of step")
    shape: str = option("linear", choices=("linear", "cosine", "hold"), doc="how two points are joined")
    unit: str = option("steps", choices=("steps", "fraction"), doc="what the first number of a point counts")

    def __post_init__(self) -> None:
        if not self.points or any(len(p) != 2 for p in self.points):
            raise ValueError(f"schedule.points: {self.points!r} must be a list of [step, value] pairs")
        steps = [p[0] for p in self.points]
        if steps != sorted(set(steps)):
            raise ValueError(f"schedule.points: the steps {steps} must ascend")

    @property
    def signals(self) -> tuple[str, ...]:
        return ("step" if self.unit == "steps" else "progress",)

    def init(self) -> State:
        return {"output": self.value_at(0.0)}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        value = self.value_at(signals["step" if self.unit == "steps" else "progress"])
        return {"output": value}, value

    def value_at(self, x: float) -> float:
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
