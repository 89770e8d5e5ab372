"""SAFE's asymmetric controller: a coefficient on the KL above a threshold, and on its rise.

    m = (kl - kl[window - 1 ago]) / window;  penalty = strength max(0, kl - threshold)^2 + momentum max(0, m)^2
    value = its slope in the present KL = 2 strength max(0, kl - threshold) + 2 momentum max(0, m) / window

Maity 2026, arXiv:2602.04651, the variant ``asymmetric_kl`` of the released code. There the penalty is a Python float without
gradient, so it trains nothing; the value here is a coefficient for a KL penalty that has one. m divides by one more than
the updates it spans, as the code. A missing or NaN signal holds. ``reference: true`` is the release: the penalty is reported
and the value is 0; to be compared with, not to be used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entropostat.rl.controllers.history import push, read
from entropostat.rl.controllers.measure import measurement, missing
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register(
    "safe_asymmetric", paper="arXiv:2602.04651", reference="ryyzn9/SAFE safe/controllers/asymmetric.py"
)
@dataclass(frozen=True)
class SAFEAsymmetric(Controller):
    """Leave the KL alone below a threshold and pull on what is above; brake a KL that rises, wherever it is.

    Nothing is smoothed, so a noisy KL makes a noisy coefficient. The brake needs ``window`` measurements, and its slope is
    small: with the code's numbers a rise of 0.01 per update adds 0.002.
    """

    signal: str = option("kl", doc="which KL is measured (the code: kl_k1)")
    threshold: float = option(0.3, fixed=True, doc="KL that is free")
    strength: float = option(0.1, low=0.0, fixed=True, doc="size of the squared excess")
    momentum: float = option(5.0, low=0.0, fixed=True, doc="size of the squared rise")
    window: int = option(50, low=1, doc="measurements that a rise is taken over")
    low: float = option(0.0, low=0.0, fixed=True, doc="lower bound of the value")
    high: float = option(10.0, above=0.0, fixed=True, doc="upper bound of the value")
    reference: bool = option(False, doc="as released: a penalty without gradient, so a value of 0; for parity only")

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"safe_asymmetric.low: {self.low:g} must not be above high, {self.high:g}")

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal,)

    def init(self) -> State:
        return {"output": 0.0 if self.reference else self.low}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        kl = measurement(signals, self.signal)
        if math.isnan(kl):
            return missing(state)
        history = push(state, "kl", kl, self.window)
        past = read(history, "kl")
        rise = (kl - past[0]) / self.window if len(past) == self.window else 0.0
        excess, brake = max(kl - self.threshold, 0.0), max(rise, 0.0)
        value = 2 * self.strength * excess + 2 * self.momentum * brake / self.window
        output = 0.0 if self.reference else min(max(value, self.low), self.high)
        parts = {"above": self.strength * excess * excess, "rising": self.momentum * brake * brake}
        new = {"output": output, "signal": kl, "target": self.threshold, "error": kl - self.threshold}
        new |= {"momentum": rise, "active": float(excess > 0)}
        return {**history, **new, **parts, "penalty": parts["above"] + parts["rising"]}, output
