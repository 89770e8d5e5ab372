"""The adaptive KL coefficient of Ziegler et al.

    beta <- beta (1 + clip(KL / target - 1, -clip, clip) * samples / horizon)

Ziegler et al. 2019, Fine-Tuning Language Models from Human Preferences, arXiv:1909.08593; the same code in verl, OpenRLHF
and older releases of TRL. The unit of KL differs: their old TRL default target 6 is nats per completion, verl's 0.1 and
our ``kl`` are nats per token. verl starts at 0.001, TRL at 0.2, both with horizon 10000.

What we changed: beta stays in [low, high], since a multiplicative rule never comes back from 0, nor from below it, where
``samples`` above horizon / clip would take it; and a missing or NaN signal holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropostat.rl.controllers.measure import MEASURED, measurement, missing
from entropostat.rl.controllers.target import passes_zero, resolve, signals_of
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register(
    "adaptive_kl", paper="arXiv:1909.08593", reference="verl core_algos.py:152; OpenRLHF kl_controller.py"
)
@dataclass(frozen=True)
class AdaptiveKL(Controller):
    """Raise the KL coefficient by some percent while the KL is above its target, lower it while below.

    It integrates and nothing else: with a short ``horizon`` it swings around the target, with the usual long one it takes
    thousands of completions to move. One update moves it by at most ``clip * samples / horizon``.
    """

    target: float | Mapping[str, Any] = option(
        fixed=True, doc="set point, nats per token with signal kl: a number, or {schedule: {points: ...}}"
    )
    samples: int = option(low=1, doc="completions that one update counts: the batch of an optimizer step")
    horizon: float = option(10_000.0, above=0.0, fixed=True, doc="completions over which beta changes by its own size")
    clip: float = option(0.2, above=0.0, below=1.0, fixed=True, doc="bound of the relative error")
    signal: str = option("kl", doc="what is measured")
    start: float = option(0.2, above=0.0, fixed=True, doc="first coefficient (TRL 0.2, verl 0.001)")
    low: float = option(1e-6, above=0.0, fixed=True, doc="lower bound of the coefficient")
    high: float = option(100.0, above=0.0, fixed=True, doc="upper bound of the coefficient")

    def __post_init__(self) -> None:
        if not self.low <= self.start <= self.high:
            raise ValueError(f"adaptive_kl.start: {self.start:g} must lie in [{self.low:g}, {self.high:g}]")
        if passes_zero(self.target):
            raise ValueError("adaptive_kl.target: 0 has no relative error")

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
        if math.isnan(target) or not target:
            return {**state, **remembered, **MEASURED}, state["output"]
        error = min(max(measured / target - 1, -self.clip), self.clip)
        output = state["output"] * (1 + error * self.samples / self.horizon)
        output = min(max(output, self.low), self.high)
        return {**remembered, "output": output, "signal": measured, "target": target, "error": error}, output
