"""Shorter steps while the policy is too far from the one that generated.

    value = 1  while kl <= limit,  else limit / kl

Maity 2026, SAFE, arXiv:2602.04651: the step preview of its title. The released code has the formula and calls it nowhere: no
trainer of it measures a KL to preview. Here the KL is the measured one of the update before, from the policy that generated
to the one that stepped (``kl_old``), so it is known late: it shortens what follows a step that went too far, not that step.

For ``objective.scalars.learning_rate.scale``. A missing or NaN signal holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entropostat.rl.controllers.measure import measurement, missing
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register(
    "preview", paper="arXiv:2602.04651", reference="ryyzn9/SAFE safe/controllers/entropy_aware.py should_scale"
)
@dataclass(frozen=True)
class Preview(Controller):
    """Scale the step down as far as the last measured KL was above a limit.

    Proportional and without memory: below the limit it is exactly 1. Inert with one update per generation, where ``kl_old``
    is 0. KL grows with the square of the step, so the factor overshoots: a KL of four times the limit needs half the step.
    """

    signal: str = option("kl_old", doc="which KL is measured")
    limit: float = option(0.5, above=0.0, fixed=True, doc="KL up to which steps are whole, nats per token")
    low: float = option(0.0, low=0.0, high=1.0, fixed=True, doc="lower bound of the value")
    alarm: int = option(10, low=1, doc="missing measurements in a row that raise the alarm")

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal,)

    def init(self) -> State:
        return {"output": 1.0, "active": 0.0}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        kl = measurement(signals, self.signal)
        if math.isnan(kl):
            return missing(state, self.alarm)
        output = 1.0 if kl <= self.limit else max(self.limit / kl, self.low)
        new = {
            "output": output,
            "signal": kl,
            "target": self.limit,
            "error": kl - self.limit,
            "missed": 0.0,
            "alarm": 0.0,
        }
        return {**new, "active": float(kl > self.limit)}, output
