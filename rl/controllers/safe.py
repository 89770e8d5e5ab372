"""SAFE: a KL threshold that follows the reward, and a coefficient on what exceeds it, raised where entropy is low.

    v = EMA(r) - EMA(r)',  pid = kp e + ki I + kd (e - e'),  e = v - velocity,  I within +-1
    tau = clip((threshold + pid) * phases[phase], tau_low, tau_high),  gate = clip(floor / (H + 0.1), 0.5, gate_max)
    penalty = strength * gate * max(0, EMA(kl) - tau)^2;    value = its slope, 2 strength gate max(0, EMA(kl) - tau)

Maity 2026, SAFE, arXiv:2602.04651. phase, of the last
``window`` rewards: 0 warm-up until there are so many; 1 climbing where their mean is more than ``climb`` above that of the
window before; 3 converged where they are still (deviation below ``still``) and above ``solved``; 2 plateau otherwise.

Paper and code: the released penalty is a Python float that is added to the loss, so it has no gradient and SAFE's
control layers train nothing. What we changed: the value is a coefficient, for a KL penalty that has a gradient, and pulls
as the penalty would whose KL is the average. Averages of the KL have no start-up bias (``debias``; not so in the code),
the gate has an upper bound (``gate_max``; null: none, as the code), a missing reward or entropy leaves its part as it was,
and a missing KL holds all. The code reads the plain mean of the log-ratio (``signal: kl_k1``). It updates once per inner
epoch; so do we, once per optimizer step: a reward that serves several steps counts at each. Its step preview is never
called (ours is ``preview``, on the learning rate), and its slow average of the KL never read: kl_long in the state is for
looking at. ``reference: true`` is the release to the digit: the same penalty is reported, and the value is 0, as that penalty
pulls at nothing. It is there to be compared with, not to be used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entropostat.rl.controllers.history import push, read
from entropostat.rl.controllers.measure import cut, measurement, missing
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.term import Controller

WARMUP, CLIMBING, PLATEAU, CONVERGED = range(4)


@CONTROLLERS.register("safe", paper="arXiv:2602.04651", reference="ryyzn9/SAFE safe/controllers")
@dataclass(frozen=True)
class SAFE(Controller):
    """Leave the KL alone below a threshold and pull harder the further it is above.

    A falling reward tightens the threshold, an early or rising one relaxes it. With rewards between 0 and 1 the
    reward PID moves the threshold by some 3 %: the phase does nearly all. ``solved`` and ``threshold`` are absolute. Inert
    while the KL stays below ``threshold``; watch ``active``. It has no integral: the KL settles somewhat above.
    """

    signal: str = option("kl", doc="which KL is measured (the code: kl_k1)")
    reward_signal: str = option("reward", doc="which reward moves the threshold")
    entropy_signal: str = option("entropy", doc="which entropy sets the gate")
    threshold: float = option(0.3, above=0.0, fixed=True, doc="KL that is free, before PID and phase")
    strength: float = option(0.1, above=0.0, fixed=True, doc="size of the squared penalty")
    kp: float = option(0.3, low=0.0, fixed=True, doc="proportional gain on the reward's velocity")
    ki: float = option(0.01, low=0.0, fixed=True, doc="integral gain")
    kd: float = option(0.05, low=0.0, fixed=True, doc="derivative gain")
    velocity: float = option(0.001, fixed=True, doc="target velocity of the reward's average, per update")
    phases: tuple[float, ...] = option((1.5, 1.2, 0.8, 1.0), doc="factors: warm-up, climbing, plateau, converged")
    window: int = option(50, low=1, doc="rewards that a phase is read from")
    climb: float = option(0.01, low=0.0, fixed=True, doc="rise of the mean from window to window that is climbing")
    still: float = option(0.02, low=0.0, fixed=True, doc="standard deviation below which rewards stand still")
    solved: float = option(0.7, fixed=True, doc="mean reward above which standing still is converged")
    tau_low: float = option(0.1, above=0.0, fixed=True, doc="lower bound of the threshold")
    tau_high: float = option(0.6, above=0.0, fixed=True, doc="upper bound of the threshold")
    floor: float = option(2.0, above=0.0, fixed=True, doc="entropy at which the gate is about 1, nats")
    gate_max: float | None = option(5.0, low=0.5, fixed=True, doc="upper bound of the gate; null: none, as the code")
    smoothing: float = option(0.9, low=0.0, below=1.0, fixed=True, doc="decay of the average of the KL")
    reward_smoothing: float = option(0.95, low=0.0, below=1.0, fixed=True, doc="decay of the average of the reward")
    debias: bool = option(True, doc="averages of the KL without start-up bias; false: as the code")
    low: float = option(0.0, low=0.0, fixed=True, doc="lower bound of the value")
    high: float = option(10.0, above=0.0, fixed=True, doc="upper bound of the value")
    alarm: int = option(10, low=1, doc="missing measurements in a row that raise the alarm")
    reference: bool = option(False, doc="as released: a penalty without gradient, so a value of 0; for parity only")

    def __post_init__(self) -> None:
        if len(self.phases) != 4 or min(self.phases) <= 0:
            raise ValueError(f"safe.phases: {list(self.phases)} must be four factors above 0")
        if self.low > self.high or self.tau_low > self.tau_high:
            raise ValueError("safe: low must not be above high, nor tau_low above tau_high")

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal, self.reward_signal, self.entropy_signal)

    def init(self) -> State:
        averages = {"kl_short": 0.0, "kl_long": 0.0, "count": 0.0}
        loop = {"pid": 0.0, "integral": 0.0, "prev_error": 0.0, "phase": float(WARMUP), "gate": 1.0}
        return {"output": 0.0 if self.reference else self.low, "penalty": 0.0, "active": 0.0, **averages, **loop}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        kl, reward, entropy = (measurement(signals, name) for name in self.signals)
        if math.isnan(kl):
            return missing(state, self.alarm)
        new = {**state, "signal": kl, "missed": 0.0, "alarm": 0.0, "count": state["count"] + 1}
        for name, decay in (("kl_short", self.smoothing), ("kl_long", 0.99)):
            new[name] = decay * state[name] + (1 - decay) * kl
        if not math.isnan(reward):
            new |= self._reward_pid(state, reward)
            new |= push(state, "reward", reward, 2 * self.window)
            new["phase"] = float(self._phase(read(new, "reward")))
        if not math.isnan(entropy):
            new["entropy"] = entropy
        debias = self.debias and not self.reference
        smooth = new["kl_short"] / (1 - self.smoothing ** new["count"] if debias else 1.0)
        tau = (self.threshold + new["pid"]) * self.phases[int(new["phase"])]
        tau = min(max(tau, self.tau_low), self.tau_high)
        excess = max(smooth - tau, 0.0)
        gate = self._gate(new) if excess else 1.0
        output = 0.0 if self.reference else min(max(2 * self.strength * gate * excess, self.low), self.high)
        new |= {"smoothed": smooth, "target": tau, "error": smooth - tau, "gate": gate, "active": float(excess > 0)}
        return {**new, "penalty": self.strength * excess * excess * gate, "output": output}, output

    def _reward_pid(self, state: State, reward: float) -> State:
        """The reward's velocity through a PID. The first reward only starts the average."""
        if "reward_ema" not in state:
            return {"reward_ema": reward}
        before = state["reward_ema"]
        ema = self.reward_smoothing * before + (1 - self.reward_smoothing) * reward
        error = ema - before - self.velocity
        integral = cut(state["integral"] + error, 1.0)
        p, i, d = self.kp * error, self.ki * integral, self.kd * (error - state["prev_error"])
        parts = {"p": p, "i": i, "d": d, "pid": p + i + d}
        return {"reward_ema": ema, "prev_error": error, "integral": integral, **parts}

    def _phase(self, rewards: list[float]) -> int:
        if len(rewards) < self.window:
            return WARMUP
        recent = rewards[-self.window :]
        older = rewards[: self.window] if len(rewards) == 2 * self.window else recent
        mean = math.fsum(recent) / self.window
        if mean > math.fsum(older) / self.window + self.climb:
            return CLIMBING
        spread = math.sqrt(math.fsum((r - mean) * (r - mean) for r in recent) / self.window)
        return CONVERGED if spread < self.still and mean > self.solved else PLATEAU

    def _gate(self, state: State) -> float:
        """Above 1 where entropy is low. 1 while none was measured."""
        if "entropy" not in state:
            return 1.0
        gate = max(self.floor / (max(state["entropy"], 0.0) + 0.1), 0.5)
        return gate if self.gate_max is None or self.reference else min(gate, self.gate_max)
