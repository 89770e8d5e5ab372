"""A fixed value, written as a controller: value = ``value``.

The fixed KL coefficient that Ziegler et al. 2019, arXiv:1909.08593, compare their adaptive one with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register("constant", paper="arXiv:1909.08593")
@dataclass(frozen=True)
class Constant(Controller):
    """The same value throughout: the row without control in a sweep over controllers. A plain number does the same."""

    value: float = option(fixed=True, doc="the value")

    @property
    def signals(self) -> tuple[str, ...]:
        return ()

    def init(self) -> State:
        return {"output": self.value}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        return {"output": self.value}, self.value
