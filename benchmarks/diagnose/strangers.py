"""Logs as other people publish them: sparse, short, noisy, of stock trainers, rewards on any scale. Written down before the rules for them.

Shapes are those of logs in public repositories: an entropy from .15 to 1.4 nats, every 1 to 10 steps a row, rewards between -2
and 2.5, few completions a step, no held-out set; bursts that come back, and after an explosion a policy that writes noise to the
length limit and learns nothing more. Ranges are cut for tuning and verdict as in ranges.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.diagnose.ranges import Range, Split, seed_of
from benchmarks.diagnose.shapes import Array, noise, rise
from benchmarks.diagnose.world import Synthetic

INTERVALS = {"tuning": (1, 2, 5), "verdict": (1, 3, 5, 10)}
VOCABULARIES = {"tuning": (32_000, 128_256), "verdict": (50_257, 151_936)}
ROWS = Range(40, 300, log=True)
START = Range(0.15, 1.4, log=True)
SCATTER = Range(0.05, 0.35, log=True)
MEMORY = Range(0.0, 0.6)
COMPLETIONS = Range(8, 64, log=True)
FLOOR, WIDTH = Range(-2.0, 0.5), Range(0.3, 3.0)
"""The reward is FLOOR + WIDTH x with x in [0, 1]; half of the runs have 0 and 1."""
ONSET = Range(0.05, 0.6)
RAMP = Range(0.02, 0.2)
SHOWN, ROWS_SHOWN = 35, 10
"""Steps, and rows, for which the effect is there at least before the log ends."""
EXPLOSION = Range(0.5, 0.95)
"""Share of the way from the start to ln V, on a log scale."""
COLLAPSE = Range(0.002, 0.05, log=True)
KEPT = Range(0.0, 0.25)
"""Share of the reward above its floor that is left after an explosion or a loss."""
LIFT = Range(1.0, 3.0)
"""Entropy beside a reward that is lost, over its start."""
BLIP = Range(2.0, 6.0)
"""Rows of a burst."""
DRIFT = Range(0.4, 2.0)
LEARNED = Range(0.15, 0.5)
KL, GRADIENT = Range(1e2, 1e14, log=True), Range(1e3, 1e9, log=True)


@dataclass
class Log:
    """One value a row; x is the reward between its floor and its ceiling."""

    split: Split
    rng: np.random.Generator
    t: Array = field(init=False)
    every: int = field(init=False)
    vocabulary: int = field(init=False)
    start: float = field(init=False)
    entropy: Array = field(init=False)
    x: Array = field(init=False)
    length: Array = field(init=False)
    cut: Array = field(init=False)
    limit: float = field(init=False)
    extra: dict[str, Array] = field(default_factory=dict)
    ill_from: int = 0
    """Row."""
    well_until: int = 0

    def __post_init__(self) -> None:
        rng, n = self.rng, round(self.draw(ROWS))
        self.t = np.arange(n, dtype=float)
        self.every = int(rng.choice(INTERVALS[self.split]))
        self.vocabulary = int(rng.choice(VOCABULARIES[self.split]))
        self.start = self.draw(START)
        self.entropy = np.full(n, self.start)
        self.limit = float(rng.choice([16, 256, 512, 1024]))
        self.length = np.full(n, self.limit * rng.uniform(0.2, 0.7))
        self.cut = np.full(n, rng.uniform(0.0, 0.1))
        self.x = np.full(n, rng.uniform(0.3, 0.9))

    def draw(self, source: Range) -> float:
        return source.draw(self.rng, self.split)

    def rise(self, begin: float = 0.0, length: float | None = None) -> Array:
        n = len(self.t)
        return rise(self.t, begin, n - begin if length is None else length, self.rng, self.split)

    def ramp(self) -> Array:
        takes = max(self.draw(RAMP) * len(self.t), 1.0)
        last = len(self.t) - takes - max(SHOWN / self.every, ROWS_SHOWN)
        begin = max(min(self.draw(ONSET) * len(self.t), last), 3.0)
        self.well_until, self.ill_from = int(begin), math.ceil(begin + takes)
        return self.rise(begin, takes)

    def position(self, u: float) -> float:
        return float(self.start * (math.log(self.vocabulary) / self.start) ** u)

    def lose(self, up: Array) -> None:
        """The reward goes, and most groups with it."""
        self.x = self.x * (1 - (1 - self.draw(KEPT)) * up)

    def run_on(self, up: Array) -> None:
        """To the length limit, or to nothing."""
        if self.rng.random() < 0.7:
            self.length = self.length + (self.limit - self.length) * up
            self.cut = self.cut + (0.97 - self.cut) * up
        else:
            self.length = np.maximum(self.length * 0.02**up, 2.0)

    def rows(self) -> list[dict[str, Any]]:
        rng, n = self.rng, len(self.t)
        ar = lambda memory: noise(n, memory, rng, self.split, tails=bool(rng.random() < 0.3))
        spread, completions = self.draw(SCATTER), self.draw(COMPLETIONS) * math.sqrt(self.every)
        seen = self.entropy * np.exp(spread * ar(self.draw(MEMORY)) - spread**2 / 2)
        x = np.clip(self.x + np.sqrt(np.maximum(self.x * (1 - self.x), 0.004) / completions) * ar(0.1), 0, 1)
        floor, width = (0.0, 1.0) if rng.random() < 0.5 else (self.draw(FLOOR), self.draw(WIDTH))
        dead = np.clip(np.abs(2 * self.x - 1) ** 2 * rng.uniform(0.5, 1.0) + 0.1 * ar(0.0), 0, 1)
        columns = {
            "entropy": np.minimum(seen, 0.99 * math.log(self.vocabulary)),
            "reward": floor + width * x,
            "completions/mean_length": np.clip(self.length * np.exp(0.08 * ar(0.2)), 1, self.limit),
            "completions/clipped_ratio": np.clip(self.cut + 0.03 * ar(0.2), 0, 1),
            "frac_reward_zero_std": dead,
            "grad_norm": rng.uniform(0.1, 3) * np.exp(0.5 * ar(0.2)) * (dead < 0.97),
            "loss": 0.02 * ar(0.0),
            "learning_rate": np.linspace(1, 0.05, n) * 1e-5,
        }
        if rng.random() < 0.7:
            columns["reward_std"] = width * np.sqrt(np.clip(self.x * (1 - self.x), 0, 1))
        if rng.random() < 0.5:
            columns["kl"] = np.abs(rng.uniform(0.02, 0.8) * self.rise() + 0.01 * ar(0.5))
        columns |= self.extra
        return [
            {"step": int((i + 1) * self.every)} | {key: float(values[i]) for key, values in columns.items()}
            for i in range(n)
        ]


def drifting(log: Log) -> None:
    """Up and down within a factor of two, the reward as it was."""
    log.entropy = log.start * log.draw(DRIFT) ** log.rise() * log.draw(DRIFT) ** log.rise(len(log.t) / 2)
    log.entropy = np.minimum(log.entropy, log.position(0.3))


def learning(log: Log) -> None:
    gain = log.draw(LEARNED)
    log.x = np.minimum(log.rng.uniform(0.1, 0.5) + gain * log.rise(), 0.98)
    log.entropy = log.start * log.rng.uniform(0.25, 0.9) ** log.rise()


def solved(log: Log) -> None:
    """All right before it began: the entropy goes down, the reward cannot go up."""
    log.x = np.full(len(log.t), log.rng.uniform(0.9, 0.98))
    log.entropy = log.start * log.rng.uniform(0.15, 0.8) ** log.rise()


def bursting(log: Log) -> None:
    """The entropy shoots up with the reward lost, and both come back within a few rows."""
    n = len(log.t)
    takes = log.draw(BLIP)
    at = log.rng.uniform(0.1, 0.7) * n
    pulse = np.exp(-(((log.t - at) / (takes / 2)) ** 2))
    log.entropy = log.entropy * (log.position(log.rng.uniform(0.3, 0.6)) / log.start) ** pulse
    log.x = log.x * (1 - 0.9 * pulse)


def always_cut(log: Log) -> None:
    """A length limit that no completion stays below, from the start; and it learns."""
    log.length[:], log.cut[:] = log.limit, 0.99
    learning(log)


def hard(log: Log) -> None:
    """Nearly nothing solved for a good part, then something."""
    log.x = np.maximum(0.02, log.draw(LEARNED) * log.rise(log.rng.uniform(0.2, 0.6) * len(log.t)))
    log.entropy = log.start * log.rng.uniform(0.4, 1.2) ** log.rise()


def lengthening(log: Log) -> None:
    log.length = np.minimum(log.length * log.rng.uniform(1.2, 2.0) ** log.rise(), log.limit * 0.8)
    log.cut = log.cut + log.rng.uniform(0.05, 0.3) * log.rise()
    learning(log)


HEALTHY: dict[str, Callable[[Log], None]] = {
    f.__name__: f for f in (drifting, learning, solved, bursting, always_cut, hard, lengthening)
}


def explosion(log: Log) -> None:
    up = log.ramp()
    log.entropy = log.start * (log.position(log.draw(EXPLOSION)) / log.start) ** up
    log.lose(up)
    log.run_on(up)


def early_explosion(log: Log) -> None:
    """From the first rows on."""
    takes = max(log.rng.uniform(0.05, 0.3) * len(log.t), 4.0)
    log.well_until, log.ill_from = 0, int(takes)
    up = log.rise(0, takes)
    log.entropy = log.start * (log.position(log.draw(EXPLOSION)) / log.start) ** up
    log.lose(up)
    log.run_on(up)


def reward_lost(log: Log) -> None:
    """The level that it had is gone for good, while the entropy stays far from ln V."""
    up = log.ramp()
    log.x = np.maximum(log.x, 0.5)
    log.lose(up)
    log.entropy = np.minimum(log.start * log.draw(LIFT) ** up, log.position(0.3))
    log.length = np.maximum(log.length * log.rng.choice([0.02, 0.1, 1.0]) ** up, 2.0)


def collapse(log: Log) -> None:
    down = log.ramp()
    log.entropy = log.start * log.draw(COLLAPSE) ** down
    log.x = np.minimum(log.x, 0.8) * (1 - log.rng.uniform(0.0, 0.5) * down)


def truncation(log: Log) -> None:
    """Longer and longer until nothing ends; the reward stays."""
    up = log.ramp()
    log.length = log.length + (log.limit - log.length) * up
    log.cut = log.cut + (log.rng.uniform(0.9, 1.0) - log.cut) * up


def kl_blow_up(log: Log) -> None:
    up = log.ramp()
    log.extra["kl"] = 0.1 * np.exp(0.3 * log.rng.standard_normal(len(log.t))) + log.draw(KL) * (up >= 1)


def gradient_blow_up(log: Log) -> None:
    up = log.ramp()
    log.extra["grad_norm"] = np.exp(0.4 * log.rng.standard_normal(len(log.t))) * np.where(
        up >= 1, log.draw(GRADIENT), 1.0
    )


ILL: dict[str, Callable[[Log], None]] = {
    f.__name__.replace("_", "-"): f
    for f in (explosion, early_explosion, reward_lost, collapse, truncation, kl_blow_up, gradient_blow_up)
}
RULE = {"early-explosion": "explosion"}
"""The first cause that is wanted, where it is not the name."""
NEVER = ("collapse", "explosion", "reward-lost")
"""Said of a healthy run they are false."""


def made(kind: str, split: Split, index: int, trial: int = 0) -> Synthetic:
    """One run of a healthy family or an ill kind."""
    log = Log(split, seed_of(split, f"stranger-{kind}", index, trial))
    (HEALTHY | ILL)[kind](log)
    known = log.vocabulary if log.rng.random() < 0.5 else None
    end = (len(log.t) + 1) * log.every
    well = kind in HEALTHY
    ill_from, until = (end, end) if well else (log.ill_from * log.every, log.well_until * log.every)
    return Synthetic(kind, log.rows(), known, ill_from=ill_from, well_until=until, deadline=end)
