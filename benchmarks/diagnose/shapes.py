"""Curves from 0 to 1, and noises. The verdict's are not those that rules are tuned on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.diagnose.ranges import Split

Array = np.ndarray
Curve = Callable[[Array], Array]


def _exponential(x: Array) -> Array:
    return (1 - np.exp(-4 * x)) / (1 - np.exp(-4))


def _smooth(x: Array) -> Array:
    return x * x * (3 - 2 * x)


def _power(x: Array) -> Array:
    return 1.25 * (1 - 1 / (1 + 4 * x))


def _logistic(x: Array) -> Array:
    low, high = 1 / (1 + np.exp(5)), 1 / (1 + np.exp(-5))
    return (1 / (1 + np.exp(-10 * (x - 0.5))) - low) / (high - low)


def _stairs(x: Array) -> Array:
    return np.ceil(x * 4) / 4


def _late(x: Array) -> Array:
    return x**2


CURVES: dict[str, tuple[Curve, ...]] = {
    "tuning": (lambda x: x, _smooth, _exponential),
    "verdict": (_power, _logistic, _stairs, _late),
}


def rise(t: Array, begin: float, length: float, rng: np.random.Generator, split: Split) -> Array:
    """(T,) 0 before ``begin``, 1 after ``begin + length``."""
    curve = CURVES[split][rng.integers(len(CURVES[split]))]
    return curve(np.clip((t - begin) / max(length, 1e-9), 0.0, 1.0))


def noise(count: int, memory: float, rng: np.random.Generator, split: Split, tails: bool) -> Array:
    """(count,) AR(1) of unit variance, cut at 5; with ``tails`` from Student's t (4 degrees to tune on, 3 for the verdict)."""
    if tails:
        degrees = 4 if split == "tuning" else 3
        fresh = rng.standard_t(degrees, count) / np.sqrt(degrees / (degrees - 2))
    else:
        fresh = rng.standard_normal(count)
    out = np.empty(count)
    last, scale = rng.standard_normal(), np.sqrt(1 - memory**2)
    for i, x in enumerate(fresh.tolist()):
        last = memory * last + scale * x
        out[i] = last
    return np.clip(out, -5, 5)


def wave(phase: Array, rng: np.random.Generator, split: Split) -> Array:
    """A swing of amplitude 1 with period 2 pi."""
    kinds: dict[str, tuple[Curve, ...]] = {
        "tuning": (np.sin, lambda p: np.tanh(2 * np.sin(p)) / np.tanh(2)),
        "verdict": (
            lambda p: 2 / np.pi * np.arcsin(np.sin(p)),
            lambda p: np.sign(np.sin(p)) * (0.8 + 0.2 * np.abs(np.sin(p))),
            lambda p: np.sin(p + 0.5 * np.sin(p)),
        ),
    }
    return kinds[split][rng.integers(len(kinds[split]))](phase)
