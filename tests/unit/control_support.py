"""Series and simulated plants for the tests of controllers."""

from __future__ import annotations

import random

from entropostat.rl.registry import CONTROLLERS

NAN = float("nan")

BUILT = {
    "constant": {"value": 0.3},
    "schedule": {"points": [[0, 0.6], [100, 0.4]], "of": "initial", "initial_signal": "s"},
    "step": {"signal": "s", "target": 1.0},
    "entropic": {"signal": "s", "target": 1.0},
    "pid": {"signal": "s", "target": 1.0, "kp": 0.3, "ki": 0.1, "kd": 0.1, "low": 0.1, "high": 5.0, "start": 1.0},
    "adaptive_kl": {"signal": "s", "target": 1.0, "samples": 64, "horizon": 640.0},
    "pid_lagrangian": {"signal": "s", "target": 1.0, "kp": 0.3, "ki": 0.1, "kd": 0.1},
    "safe": {"signal": "s", "reward_signal": "s", "entropy_signal": "s", "window": 5},
    "safe_asymmetric": {"signal": "s", "window": 5},
    "aer": {"signal": "s"},
    "log_beta": {"signal": "s", "target": 1.0, "every": 2, "rate": 0.3, "error_smoothing": 0.5},
    "preview": {"signal": "s", "limit": 1.0},
    "adapo": {"signal": "s", "target": 1.0},
    "average": {"signal": "s"},
}
"""Every controller with options under which it reads the signal ``s``. A new one needs an entry, here or below."""

ELSEWHERE = {"autopilot", "follow"}
"""Controllers of two knobs, which have tests of their own."""


def build(kind, **options):
    return CONTROLLERS.build(kind, BUILT[kind] | options)


def feed(controller, values, state=None, first=0):
    """(last state, outputs) for a series of measurements; None: nothing measured."""
    state = controller.init() if state is None else state
    outputs = []
    for step, value in enumerate(values, start=first):
        signals = {"step": float(step), "progress": step / 1000} | ({} if value is None else {"s": value})
        state, output = controller.update(state, signals)
        outputs.append(output)
    return state, outputs


class Plant:
    """s <- lag s + (1 - lag) (rest + gain u(delay ago)), measured with noise."""

    def __init__(self, gain, rest, lag=0.7, delay=0, noise=0.0, seed=0):
        self.gain, self.rest, self.lag, self.noise = gain, rest, lag, noise
        self.queue, self.signal, self.random = [0.0] * delay, rest, random.Random(seed)

    def step(self, value):
        self.queue.append(value)
        self.signal = self.lag * self.signal + (1 - self.lag) * (self.rest + self.gain * self.queue.pop(0))
        return self.signal + self.random.gauss(0, self.noise)


def close(controller, plant, steps, state=None, first=0):
    """(state, outputs, true signals) of the closed loop."""
    state = controller.init() if state is None else state
    outputs, signals = [], []
    for step in range(first, first + steps):
        measured = plant.step(state["output"])
        state, output = controller.update(state, {"s": measured, "step": float(step), "progress": 0.0})
        outputs.append(output)
        signals.append(plant.signal)
    return state, outputs, signals
