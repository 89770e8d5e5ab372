"""Autopilot: one PI core that holds entropy by two actuators, re-weighting first and an entropy gradient for what is left.

    e = clip((target - s) / scale, -error_clip, error_clip)          s: the signal, smoothed;   scale = |target| or 1
    u = kp e + I + f + b        I += ki e dt                          demand: positive asks for more entropy
    output = a clip(u, gain_min, gain_max)                            gain of ``entropy_tilt``
    rest   = clip(bonus_gain (u - output), bonus_low, bonus_high)     coefficient of ``entropy_bonus``, by ``follow``

a in [0, 1] is the share of the work that re-weighting gets. It moves by 1 / handover per update: down once the authority that
``entropy_tilt`` reports is below ``authority_low`` of the largest seen so far, up once it is above ``authority_high``, and in
between it keeps its direction. output and rest / bonus_gain always add up to u, so a hand-over moves work and not the demand.

f, the feed-forward, is what the proportional part would say to the entropy that the theorem foresees for the next update:

    f = clip(-kp slope (mean dH per update) / scale, -feed_forward gain_max, feed_forward gain_max)

slope turns foreseen into realised nats. It is learned within each generation of several updates, by least squares through 0
with forgetting, from the entropy change of tokens not trained on yet against the sum of what was foreseen for the updates so
far. It is 0 while its lower confidence bound is not above 0, and at most ``slope_max``. Both sides and f are in the state.

New here, to our knowledge: the two actuators on one core, the tilt by the theorem, and a hand-over by measured authority.
Borrowed: the theorem (arXiv:2602.03392), PI with conditional integration and the priority of one actuator over another
(textbook control; see follow.py), entropy control by the weights of samples (EntroPIC, arXiv:2511.15248).

The order of an update: smoothing; the slope and the share, which are kept up in any case; gate; error; parts; bounds. The
integral takes nothing that the last bound of both actuators would only swallow. When the gate opens or the target jumps, b
takes the jump of the proportional part, so that the demand goes on from where it is, and loses 1 / handover of it per update.
(In the integral it would stay: for as long as both actuators are at a bound, an integral that asks for the wrong side has no
way back.) A ramp is no jump (target.py).

The bounds are narrow on purpose. On a policy that was learning, a constant gain of 0.7 or a constant bonus of 0.08 destroyed what
it could do, a gain of 0.4 cost some of it, a bonus of 0.04 nothing (benchmarks/results/holding/policy.md). With gain_max 0.4 and
less smoothing one run in ten broke, with the gains that are the defaults none; beside an anchor a bonus within 0.2 did no harm
(tracking-anchor.md). An exact toy takes more: widen them only where you have seen that the reward stands it. Across a change of prompts
let it only lift, by gain_min and bonus_low of 0: to press entropy down where nothing is learned yet lost a run in ten (switch.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropostat.rl.controllers.forecast import Forecast
from entropostat.rl.controllers.measure import cut, measurement, missing, smoothed
from entropostat.rl.controllers.target import before_jump, passes_zero, resolve, signals_of
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller


@CONTROLLERS.register("autopilot", paper="arXiv:2602.03392")
@dataclass(frozen=True)
class Autopilot(Controller):
    """Hold entropy at a target from both sides: by re-weighting tokens while that has authority, then by an entropy bonus.

    Put it on ``weights.entropy_tilt.gain``, and ``follow`` with ``key: rest`` on ``penalties.entropy_bonus.coef``.
    It waits until entropy is first at or below the target, or ``patience`` measurements: to press entropy down
    before the policy has learned anything destroys the learning. Where entropy may rise from the start, make
    ``patience`` short. Watch ``saturated``: 1 means that both actuators are at a bound and the target is not held.
    Watch ``share``: near 0 it is an entropy bonus under PI control. ``alarm`` is 1 while nothing is measured; then
    all holds. ``feed_forward`` is inert where every generation serves one update.
    """

    target: float | Mapping[str, Any] = option(
        fixed=True, doc="entropy to hold, nats: a number, or {schedule: {points: ...}}"
    )
    signal: str = option("entropy", doc="what is held")
    kp: float = option(6.0, low=0.0, fixed=True, doc="proportional gain")
    ki: float = option(0.3, low=0.0, fixed=True, doc="integral gain, per update")
    error: str = option("relative", choices=("relative", "absolute"), doc="scale: |target|, or 1")
    error_clip: float = option(0.5, above=0.0, fixed=True, doc="bound of |e|")
    smoothing: float = option(0.8, low=0.0, below=1.0, fixed=True, doc="decay of the average of the signal; 0: none")
    gain_min: float = option(
        -0.2, low=-2.0, high=0.0, fixed=True, doc="lower bound of the tilt's gain; 0: it only lifts"
    )
    gain_max: float = option(0.2, above=0.0, high=2.0, fixed=True, doc="upper bound of the tilt's gain")
    bonus_gain: float = option(0.05, low=0.0, fixed=True, doc="bonus coefficient per unit of demand; 0: no bonus")
    bonus_low: float = option(-0.02, high=0.0, fixed=True, doc="lower bound of the bonus coefficient; 0: it only lifts")
    bonus_high: float = option(0.02, low=0.0, fixed=True, doc="upper bound of the bonus coefficient")
    authority_signal: str = option("entropy_tilt/authority", doc="what the first actuator could do, as a metric")
    authority_low: float = option(0.1, low=0.0, high=1.0, fixed=True, doc="share of the best authority to hand over at")
    authority_high: float = option(0.2, low=0.0, high=1.0, fixed=True, doc="share of it to take back at")
    handover: int = option(10, low=1, doc="updates that a whole hand-over takes")
    gate: str = option("reached", choices=("reached", "none"), doc="reached: wait until entropy is first at the target")
    patience: int | None = option(500, low=1, doc="measurements after which the gate opens anyway; null: never")
    feed_forward: float = option(0.0, low=0.0, high=1.0, fixed=True, doc="bound of f, as a share of gain_max; 0: off")
    slope_max: float = option(1.0, low=0.0, fixed=True, doc="largest realised nats per foreseen nat")
    forgetting: float = option(0.98, above=0.0, high=1.0, fixed=True, doc="decay of the slope's memory, per pair")
    foreseen_signal: str = option("entropy_tilt/predicted", doc="mean dH of the window's tokens, as a metric")
    realised_signal: str = option("entropy_tilt/realised", doc="their entropy change since the generation")
    generation_signal: str = option("entropy_tilt/generation", doc="which generation the window is of")
    alarm: int = option(10, low=1, doc="missing measurements in a row that raise the alarm")

    def __post_init__(self) -> None:
        if self.authority_low > self.authority_high:
            raise ValueError(
                f"autopilot.authority_low: {self.authority_low:g} must not be above authority_high, "
                f"{self.authority_high:g}: in between, the share keeps its direction"
            )
        if passes_zero(self.target) and self.error == "relative":
            raise ValueError("autopilot.target: 0 has no relative error; use error: absolute")

    @property
    def signals(self) -> tuple[str, ...]:
        metrics = (self.authority_signal, self.foreseen_signal, self.realised_signal, self.generation_signal)
        return (self.signal, *metrics, *signals_of(self.target))

    @property
    def _forecast(self) -> Forecast:
        names = (self.foreseen_signal, self.realised_signal, self.generation_signal)
        return Forecast(*names, forgetting=self.forgetting, slope_max=self.slope_max)

    def init(self) -> State:
        own = {"output": 0.0, "rest": 0.0, "demand": 0.0, "integral": 0.0, "share": 1.0, "way": 1.0, "best": 0.0}
        own["bump"] = 0.0
        return {**own, "average": 0.0, "weight": 0.0, "count": 0.0, "missed": 0.0, **self._forecast.init()}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        remembered, target = resolve(self.target, state, signals)
        state = state | remembered | self._forecast.learn(state, signals)
        measured = measurement(signals, self.signal)
        if math.isnan(measured):
            return missing(state, self.alarm)
        new = smoothed(state, measured, self.smoothing) | self._shared(state, signals)
        new |= {"signal": measured, "missed": 0.0, "alarm": 0.0}
        if math.isnan(target):
            return new, state["output"]
        new["target"] = target
        if self.gate == "reached":
            late = self.patience is not None and new["count"] > self.patience
            new["gate"] = float(state.get("gate", 0.0) or late or new["smoothed"] <= target)
        if new.get("gate", 1.0):
            new |= self._act(state, new, target)
        return new, new["output"]

    def _shared(self, state: State, signals: Mapping[str, float]) -> State:
        """The share of the first actuator after this update. It stays where nothing is measured or nobody takes over."""
        authority = measurement(signals, self.authority_signal)
        if math.isnan(authority) or not self.bonus_gain:
            return {}
        best = max(state["best"], authority)
        way = -1.0 if authority < self.authority_low * best else state["way"]
        way = 1.0 if authority > self.authority_high * best else way
        share = min(max(state["share"] + way / self.handover, 0.0), 1.0)
        return {"authority": authority, "best": best, "way": way, "share": share}

    def _act(self, state: State, new: State, target: float) -> State:
        """One update of the open loop: what changes."""
        error = self._error_at(target, new["smoothed"])
        before = self._error_at(before_jump(state, target, self._scale(target)), new["smoothed"])
        p, i = self.kp * error, self.ki * error * (1 + state["missed"])
        limit = self.feed_forward * self.gain_max
        feed = cut(-self.kp * self._forecast.change(new) / self._scale(target), limit)
        bump = state.get("bump", 0.0) * (1 - 1 / self.handover) + self.kp * (before - error)
        if "error" not in state:  # the gate opens
            bump = state["demand"] - p - feed
        low, high = self._reach(new["share"])
        integral = state["integral"] + i
        raw = p + integral + bump + feed
        if raw > high and i > 0:
            integral = max(state["integral"], high - p - bump - feed)
        elif raw < low and i < 0:
            integral = min(state["integral"], low - p - bump - feed)
        demand = min(max(p + integral + bump + feed, low), high)
        output = new["share"] * min(max(demand, self.gain_min), self.gain_max)
        rest = min(max(self.bonus_gain * (demand - output), self.bonus_low), self.bonus_high)
        parts = {"error": error, "p": p, "i": integral, "integral": integral, "feed": feed, "bump": bump}
        return {**parts, "demand": demand, "output": output, "rest": rest, "saturated": float(not low <= raw <= high)}

    def _reach(self, share: float) -> tuple[float, float]:
        """The demands that the two actuators can meet together."""
        if not self.bonus_gain:
            return self.gain_min, self.gain_max
        low = self._edge(-self.bonus_low, -self.gain_min, share)
        return -low, self._edge(self.bonus_high, self.gain_max, share)

    def _edge(self, bonus: float, gain: float, share: float) -> float:
        """The largest demand u of which no more than ``bonus`` is left over, u - share min(u, gain) in its units."""
        over = bonus / self.bonus_gain
        small = over < (1 - share) * gain
        return over / (1 - share) if small else over + share * gain

    def _scale(self, target: float) -> float:
        return max(abs(target), 1e-12) if self.error == "relative" else 1.0

    def _error_at(self, target: float, signal: float) -> float:
        return cut((target - signal) / self._scale(target), self.error_clip)
