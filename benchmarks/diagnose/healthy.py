"""Runs in which nothing is wrong, in families. Each must stay without a finding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.diagnose.loops import working
from benchmarks.diagnose.ranges import (
    ALIVE,
    CONVERGED,
    COOLING,
    GAIN,
    NOISY,
    PEAK,
    PLATEAU,
    RISING,
    STRETCH,
    Split,
    seed_of,
)
from benchmarks.diagnose.terms import log_terms
from benchmarks.diagnose.world import Synthetic, World


def converging(w: World) -> None:
    """Entropy falls to a small share of its start; the policy gets better as it falls, held-out pass@k with it."""
    gain = max(w.draw(GAIN), 0.2)
    w.learn(gain, w.rng.uniform(0.6, 1.0))
    learned = (w.reward - w.reward[0]) / (w.reward[-1] - w.reward[0])
    w.many = np.clip(w.right + (1 - w.right) * 0.3, 0, 1)
    w.entropy = w.start * w.draw(CONVERGED) ** (learned ** w.rng.uniform(1.0, 1.5))
    w.dead = w.dead + (w.draw(ALIVE) - w.dead) * w.rise()


def cooling(w: World) -> None:
    w.stand_still()
    w.entropy = w.start * w.draw(COOLING) ** w.rise()


def plateau(w: World) -> None:
    w.entropy = w.start * w.draw(PLATEAU) ** w.rise(0, w.length * 0.3)
    w.entropy = np.minimum(w.entropy, w.position(0.2) if w.entropy[-1] > w.start else np.inf)


def held(w: World) -> None:
    target = min(w.start * w.draw(PLATEAU), w.position(0.2))
    working(w, np.full(w.length, target))


def scheduled(w: World) -> None:
    working(w, w.start * w.draw(COOLING) ** w.rise(0, w.length * w.rng.uniform(0.5, 1.0)))


def rising(w: World) -> None:
    """Slowly up while learning goes on, as under clip-higher."""
    w.entropy = w.start * (w.position(w.draw(RISING)) / w.start) ** w.rise()


def switching(w: World) -> None:
    """A curriculum: falls, rises at the switch where the reward drops, and falls again."""
    at = w.length * w.rng.uniform(0.3, 0.5)
    first = w.start * w.rng.uniform(0.3, 0.9) ** w.rise(0, at)
    peak = w.position(w.draw(PEAK))
    up, down = w.rise(at, w.length * 0.1), w.rise(at + w.length * 0.12, w.length * 0.3)
    w.entropy = first * (peak / first) ** (up * (1 - down)) * w.rng.uniform(0.4, 1.0) ** down
    w.stand_still()
    easy, hard = w.rng.uniform(0.5, 0.9), w.rng.uniform(0.1, 0.4)
    gain = w.draw(GAIN)
    w.reward = np.where(w.t < at, easy + 0.08 * w.rise(0, at), hard + gain * w.rise(at, w.length - at))
    w.right = hard + gain * w.rng.uniform(0.5, 1.0) * w.rise(at, w.length - at)
    w.many = np.clip(w.right + 0.3 * (1 - w.right), 0, 1)


def noisy(w: World) -> None:
    """Small batches: everything scatters."""
    w.scatter = w.draw(NOISY)
    w.entropy = w.start * w.rng.uniform(0.5, 1.0) ** w.rise()
    w.dead = np.full(w.length, w.rng.uniform(0.3, 0.7))


def longer(w: World) -> None:
    """Completions grow, and what they say gets better held-out as well."""
    w.learn(max(w.draw(GAIN), 0.2), w.rng.uniform(0.5, 1.0))
    w.tokens = w.tokens * w.draw(STRETCH) ** w.rise()
    w.entropy = w.start * w.rng.uniform(0.5, 1.0) ** w.rise()


def two_ways(w: World) -> None:
    """Two strategies: one takes over and gets better, the other goes, whatever its accuracy then is."""
    share = w.rng.uniform(0.3, 0.7) * (1 - w.rise())
    skill = w.rng.uniform(0.3, 0.6)
    w.held = {
        "share/blurting": share,
        "share/working": 1 - share,
        "accuracy/blurting": np.clip(skill - w.rng.uniform(0, 0.1) * w.rise(), 0.05, 1),
        "accuracy/working": skill + w.rng.uniform(0, 0.3) * w.rise(),
    }


def spared(w: World) -> None:
    """A few single steps without a finite loss, as half precision has them: at most one in 200."""
    count = int(w.rng.integers(0, max(w.length // 200, 1) + 1))
    w.broken[w.rng.integers(0, w.length, count)] = True


FAMILIES: dict[str, Callable[[World], None]] = {
    f.__name__: f
    for f in (
        *(converging, cooling, plateau, held, scheduled, rising),
        *(switching, noisy, longer, two_ways, spared),
    )
}


def healthy(split: Split, length: int, index: int, trial: int = 0) -> Synthetic:
    """Run number ``index``: its family is the number's remainder."""
    name = list(FAMILIES)[index % len(FAMILIES)]
    world = World(split, seed_of(split, f"healthy-{length}", index, trial), length)
    FAMILIES[name](world)
    log_terms(world)
    known = world.vocabulary if world.rng.random() < 0.7 else None
    end = length + 1
    return Synthetic(name, world.rows(), known, ill_from=end, well_until=length, deadline=end)
