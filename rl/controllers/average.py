"""The mean of a signal over the run so far: value_n = value_(n-1) + (s_n - value_(n-1)) / n.

The historical mean that EPO, arXiv:2509.22576, smooths towards: all updates before the current one count alike.

Not to be confused with a moving average (``smoothing`` of other controllers), nor with the average of weights that is
``kl_ref``'s ``reference: ema``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entropostat.rl.controllers.measure import MEASURED, measurement, missing
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register("average", paper="arXiv:2509.22576")
@dataclass(frozen=True)
class Average(Controller):
    """What a signal has been so far, for an option that compares with it: it closes no loop and has no target.

    0 until the first measurement. It slows down as the run goes on, as every mean over all of it does.
    """

    signal: str = option("entropy", doc="what is measured")

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal,)

    def init(self) -> State:
        return {"output": 0.0, "count": 0.0}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        measured = measurement(signals, self.signal)
        if math.isnan(measured):
            return missing(state)
        count = state["count"] + 1
        output = state["output"] + (measured - state["output"]) / count
        return {"output": output, "count": count, "signal": measured, **MEASURED}, output
