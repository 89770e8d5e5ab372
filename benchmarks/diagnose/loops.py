"""Synthetic control/<knob>/* metrics: a loop that works, one at its bound, one that swings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.diagnose.ranges import OFF_TARGET, PERIOD, SWING
from benchmarks.diagnose.shapes import Array, wave

if TYPE_CHECKING:
    from benchmarks.diagnose.world import World

KNOBS = ("penalties.entropy_bonus.coef", "penalties.kl_ref.coef", "weights.entropy_tilt.gain")


def log_loop(world: World, signal: Array, target: Array, output: Array, saturated: Array, smoothing: float) -> None:
    """``output`` in shares of the range."""
    knob = str(world.rng.choice(KNOBS))
    low = float(world.rng.choice([0.0, -0.01, 0.05]))
    smooth = np.empty_like(signal)
    last = signal[0]
    for i, x in enumerate(signal.tolist()):
        last = smoothing * last + (1 - smoothing) * x
        smooth[i] = last
    values = {
        "output": low + float(world.rng.choice([0.02, 1.0])) * output,
        "target": target,
        "signal": signal,
        "smoothed": smooth,
        "error": np.clip((target - smooth) / np.abs(target), -1, 1),
        "saturated": saturated.astype(float),
        "alarm": np.zeros_like(signal),
    }
    world.exact |= {f"control/{knob}/{key}": value for key, value in values.items()}


def working(world: World, target: Array) -> None:
    """A PI loop on a first-order plant whose need drifts. It may be at a bound for the first 25 steps, and now and then after."""
    rng, length = world.rng, world.length
    need = 0.5 + 0.2 * np.sin(2 * np.pi * (world.t / length * rng.uniform(0.2, 2) + rng.random()))
    need = need + 0.05 * world.ar(0.9)
    # Damped well: with gains at random some of these loops would swing in earnest.
    kp, gain, damping = rng.uniform(0.5, 1.5), rng.uniform(0.03, 0.08), rng.uniform(0.6, 1.2)
    ki = kp**2 * gain / (2 * damping**2)
    scatter = world.scatter * world.ar()
    x, integral, average = float(np.log(world.start)), 0.0, float(np.log(world.start))
    level, output, saturated = np.empty(length), np.empty(length), np.zeros(length, bool)
    goal = np.log(target)
    for i in range(length):
        measured = x + scatter[i]
        average = 0.5 * average + 0.5 * measured
        error = float(np.clip(goal[i] - average, -1, 1))
        raw = 0.5 + kp * error + integral
        u = min(max(raw, 0.0), 1.0)
        if u == raw or (raw > 1) != (error > 0):
            integral += ki * error
        saturated[i] = u != raw
        output[i], level[i] = u, x
        x += gain * (u - need[i]) * 2
    world.entropy = np.exp(level)
    saturated |= rng.random(length) < rng.uniform(0, 0.1)
    saturated[: int(rng.integers(0, 26))] = True
    log_loop(world, np.exp(level + scatter), target, output, saturated, 0.5)


def at_bound(world: World, begin: int) -> None:
    """From ``begin`` on the output sits at a bound and the signal off its target."""
    rng, length = world.rng, world.length
    side = 1.0 if rng.random() < 0.5 else -1.0
    off = world.draw(OFF_TARGET)
    off = min(off, 0.9) if side < 0 else off
    target = np.full(length, world.start)
    ill = world.t >= begin
    level = target * np.where(ill, 1 + side * off, 1.0)
    output = np.where(ill, 0.0 if side > 0 else 1.0, 0.5 + 0.1 * world.ar(0.8))
    saturated = np.where(ill, rng.random(length) < rng.uniform(0.92, 1.0), False)
    world.entropy = level
    log_loop(world, level * np.exp(world.scatter * world.ar()), target, np.clip(output, 0, 1), saturated, 0.5)
    world.well_until, world.ill_from = begin - 1, begin


def swinging(world: World, begin: int) -> None:
    rng, length = world.rng, world.length
    period, size = world.draw(PERIOD) * world.every, world.draw(SWING)
    target = np.full(length, world.start)
    ill = world.t >= begin
    phase = 2 * np.pi * (world.t - begin) / period
    # The phase wanders, as that of a real loop does.
    phase = phase + np.cumsum(rng.normal(0, 0.1, length)) * np.sqrt(1 / period)
    swing, answer = wave(phase, rng, world.split), wave(phase + np.pi / 2, rng, world.split)
    level = target * np.where(ill, 1 + size * swing, 1.0)
    wide = rng.uniform(0.5, 1.0)
    output = np.where(ill, 0.5 + wide / 2 * answer, 0.5 + 0.05 * world.ar(0.5))
    saturated = np.where(ill, (np.abs(answer) > 0.95) & (wide > 0.95), False)
    world.entropy = np.maximum(level, 1e-3)
    signal = world.entropy * np.exp(min(world.scatter, 0.15) * world.ar(0.3))
    log_loop(world, signal, target, np.clip(output, 0, 1), saturated, rng.uniform(0.0, 0.5))
    world.well_until, world.ill_from = begin - 1, begin
