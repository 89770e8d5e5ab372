"""A Lagrange multiplier with proportional and derivative parts (PID Lagrangian).

    e = J - target;  I <- max(0, I + ki e);  P <- a P + (1 - a) e;  C <- b C + (1 - b) J;  D = max(0, C - C[delay ago])
    lambda = max(0, kp P + I + kd D)

Stooke, Achiam and Abbeel 2020, Responsive Safety in Reinforcement Learning by PID Lagrangian Methods, arXiv:2007.03964,
as in omnisafe (common/pid_lagrange.py, whose gains are the defaults). D damps only a cost that rises. omnisafe's
``diff_norm`` is ``high: 1``. Its ``sum_norm`` has no upper bound and divides the whole objective,
(A_r - lambda A_c) / (1 + lambda), which one coefficient cannot; the ratio of the two parts, all that Adam sees, is the same.

What we changed: I has the upper bound too (``bound_integral``; omnisafe has it with diff_norm only), or a limit that cannot
be met would wind it up; averages have no start-up bias and D is 0 until ``delay`` measurements lie behind (``debias``;
omnisafe's start at 0, and D answers to its own start). A missing or NaN signal holds. Before the first measurement the
value is I's ``start``; omnisafe's is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropostat.rl.controllers.history import push, read
from entropostat.rl.controllers.measure import MEASURED, measurement, missing
from entropostat.rl.controllers.target import resolve, signals_of
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register("pid_lagrangian", paper="arXiv:2007.03964", reference="omnisafe common/pid_lagrange.py")
@dataclass(frozen=True)
class PIDLagrangian(Controller):
    """Hold a cost, such as the KL, below a limit: the coefficient rises while the cost is above it and falls to 0 below.

    One-sided, and for coefficients that lower their signal only. ``error`` is in the signal's unit: omnisafe's gains are
    for costs around 25, so a KL of 0.1 wants gains some hundred times larger.
    """

    target: float | Mapping[str, Any] = option(
        fixed=True, doc="the limit, in the signal's unit: a number, or {schedule: {points: ...}}"
    )
    kp: float = option(0.1, low=0.0, fixed=True, doc="proportional gain")
    ki: float = option(0.01, low=0.0, fixed=True, doc="integral gain, per update")
    kd: float = option(0.01, low=0.0, fixed=True, doc="derivative gain")
    signal: str = option("kl", doc="what is measured")
    start: float = option(0.001, low=0.0, fixed=True, doc="first integral")
    smoothing: float = option(0.95, low=0.0, below=1.0, fixed=True, doc="decay a of the average of the error")
    derivative_smoothing: float = option(0.95, low=0.0, below=1.0, fixed=True, doc="decay b of the average of the cost")
    delay: int = option(10, low=1, doc="updates over which the derivative is taken")
    high: float = option(100.0, above=0.0, fixed=True, doc="upper bound of the value")
    bound_integral: bool = option(True, doc="high bounds the integral too; false: as omnisafe without diff_norm")
    debias: bool = option(True, doc="averages without start-up bias; false: as omnisafe")

    def __post_init__(self) -> None:
        signals_of(self.target)

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal, *signals_of(self.target))

    def init(self) -> State:
        averages = {"p_sum": 0.0, "cost": 0.0, "count": 0.0} | ({} if self.debias else {"past_0": 0.0})
        return {"output": min(self.start, self.high), "integral": self.start} | averages

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        remembered, target = resolve(self.target, state, signals)
        measured = measurement(signals, self.signal)
        if math.isnan(measured):
            return missing({**state, **remembered})
        if math.isnan(target):
            return {**state, **remembered, **MEASURED}, state["output"]
        error, count = measured - target, state["count"] + 1
        integral = max(0.0, state["integral"] + self.ki * error)
        integral = min(integral, self.high) if self.bound_integral else integral
        p_sum = self.smoothing * state["p_sum"] + (1 - self.smoothing) * error
        cost_sum = self.derivative_smoothing * state["cost"] + (1 - self.derivative_smoothing) * measured
        p, cost = p_sum, cost_sum
        if self.debias:
            p, cost = p_sum / (1 - self.smoothing**count), cost_sum / (1 - self.derivative_smoothing**count)
        past = read(state, "past")
        rise = 0.0 if self.debias and len(past) < self.delay else max(0.0, cost - past[0])
        output = min(max(self.kp * p + integral + self.kd * rise, 0.0), self.high)
        new = {"output": output, "integral": integral, "p_sum": p_sum, "cost": cost_sum, "count": count}
        new |= {"signal": measured, "smoothed": cost, "target": target, "error": error}
        new |= {"p": p, "i": integral, "d": rise}
        return {**remembered, **new, **push(state, "past", cost, self.delay)}, output
