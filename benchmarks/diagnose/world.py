"""A synthetic run: smooth curves of what is true, and the rows that a trainer would log of them. numpy only.

Half of the runs log everything, the others what plain TRL logs. Rewards, lengths and the like come with a generation, every
one, two or four steps; held-out sets every ``evaluate_every`` steps or, in some runs, never.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.diagnose.ranges import (
    COMPLETIONS,
    GAIN,
    GROUPS,
    MEMORY,
    PROMPTS,
    SAMPLER,
    SCATTER,
    START,
    VOCABULARIES,
    Range,
    Split,
)
from benchmarks.diagnose.shapes import Array, noise, rise

Row = dict[str, Any]


@dataclass(frozen=True)
class Synthetic:
    """What `examine` gets, and what is true of it."""

    name: str
    rows: list[Row]
    vocabulary: int | None
    ill_from: int
    """Step from which the declared effect is there."""
    well_until: int
    """Step up to which all is well: a finding before is a false one."""
    deadline: int
    """Last step at which finding it counts."""

    def series(self, key: str) -> tuple[list[int], list[float]]:
        points = [(row["step"], row[key]) for row in self.rows if isinstance(row.get(key), int | float)]
        return [step for step, _ in points], [value for _, value in points]


@dataclass
class World:
    """Arrays are (T,), one value a step."""

    split: Split
    rng: np.random.Generator
    length: int
    t: Array = field(init=False)
    vocabulary: int = field(init=False)
    start: float = field(init=False)
    every: int = field(init=False)
    generation: int = field(init=False)
    evaluate_every: int = field(init=False)
    full: bool = field(init=False)
    prompts: int = field(init=False)
    scatter: float = field(init=False)
    memory: float = field(init=False)
    tails: bool = field(init=False)
    entropy: Array = field(init=False)
    reward: Array = field(init=False)
    right: Array = field(init=False)
    many: Array = field(init=False)
    """Held-out pass@1 and pass@k."""
    tokens: Array = field(init=False)
    dead: Array = field(init=False)
    sampler: Array = field(init=False)
    exact: dict[str, Array] = field(default_factory=dict)
    """Further metrics, logged as they are."""
    held: dict[str, Array] = field(default_factory=dict)
    """Further metrics of the held-out set, with sampling noise."""
    percentiles: dict[str, Array] = field(default_factory=dict)
    """entropy/p10 ...: factor of what they would be beside this mean."""
    broken: Array = field(init=False)
    """Steps whose loss is not finite."""
    ill_from: int = 0
    well_until: int = 0

    def __post_init__(self) -> None:
        rng, length = self.rng, self.length
        self.t = np.arange(1, length + 1, dtype=float)
        self.vocabulary = int(rng.choice(VOCABULARIES[self.split]))
        self.start = min(self.draw(START), 0.6 * math.log(self.vocabulary))
        self.every = 1 if length < 1000 else int(rng.choice([1, 1, 2, 5]))
        self.generation = int(rng.choice([1, 2, 4]))
        longest = max(length / 10, 10) if length < 10_000 else 200
        self.evaluate_every = 0 if rng.random() < 0.3 else int(rng.integers(10, min(longest, 50) + 1))
        if length >= 10_000 and self.evaluate_every:
            self.evaluate_every *= 4
        self.full = bool(rng.random() < 0.5)
        self.prompts = int(self.draw(PROMPTS))
        self.scatter, self.memory = self.draw(SCATTER), self.draw(MEMORY)
        self.tails = bool(rng.random() < 0.3)
        self.entropy = np.full(length, self.start)
        self.tokens = np.full(length, float(np.exp(rng.uniform(np.log(20), np.log(4000)))))
        self.sampler = np.full(length, self.draw(SAMPLER)) * (1 + rng.uniform(0, 1) * self.t / length)
        self.dead = np.full(length, rng.uniform(0.0, 0.5))
        self.broken = np.zeros(length, bool)
        self.learn(self.draw(GAIN))

    def draw(self, source: Range) -> float:
        return source.draw(self.rng, self.split)

    def rise(self, begin: float = 0.0, length: float | None = None) -> Array:
        return rise(self.t, begin, self.length - begin if length is None else length, self.rng, self.split)

    def learn(self, gain: float, kept: float | None = None) -> None:
        """Reward from a low level up by ``gain``; held-out pass@1 and pass@k by at least .3 of it."""
        kept = self.rng.uniform(0.3, 1.0) if kept is None else kept
        begin = self.rng.uniform(0.05, 0.95 - gain)
        curve = self.rise(0, self.length * self.rng.uniform(0.5, 1.0))
        self.reward = begin + gain * curve
        self.right = begin * self.rng.uniform(0.7, 1.0) + kept * gain * curve
        spread = self.rng.uniform(0.1, 0.5) * (1 - self.right[-1])
        self.many = np.clip(self.right + spread * (1 - 0.4 * curve * (kept > 0)), 0, 1)

    def stand_still(self) -> None:
        self.learn(0.0, 0.0)

    def position(self, u: float) -> float:
        """The entropy at log-position ``u`` between the start and ln V."""
        return float(self.start * (math.log(self.vocabulary) / self.start) ** u)

    def ar(self, memory: float | None = None) -> Array:
        return noise(self.length, self.memory if memory is None else memory, self.rng, self.split, self.tails)

    def rows(self) -> list[Row]:
        rng, columns = self.rng, {}
        ceiling = math.log(self.vocabulary)
        seen = np.minimum(self.entropy * np.exp(self.scatter * self.ar() - self.scatter**2 / 2), 0.98 * ceiling)
        columns["entropy"] = seen
        columns["grad_norm"] = rng.uniform(0.1, 2) * np.exp(0.3 * self.ar(0.3))
        columns["loss"] = 0.05 * self.ar(0.0)
        columns["learning_rate"] = np.full(self.length, 1e-6)
        n = int(self.draw(COMPLETIONS))
        reward = self.reward + 1.3 * np.sqrt(self.reward * (1 - self.reward) / n) * self.ar(0.2)
        groups = int(self.draw(GROUPS))
        dead = rng.binomial(groups, self.dead) / groups
        ratio = np.exp(0.1 * self.ar(0.3))
        slow = {
            "reward": np.clip(reward, 0, 1),
            "reward_std": np.sqrt(np.clip(self.reward * (1 - self.reward), 0, 1)),
            "frac_reward_zero_std": dead,
            "completions/mean_length": self.tokens * np.exp(0.08 * self.ar(0.2)),
            "completions/clipped_ratio": np.clip(0.03 * np.abs(self.ar(0.2)), 0, 1),
        }
        if rng.random() < 0.6:
            slow["sampling/sampling_logp_difference/mean"] = self.sampler * ratio
        columns["clip_ratio/region_mean"] = np.clip(0.02 + 0.01 * self.ar(0.2), 0, 1)
        if rng.random() < 0.5:
            columns["kl"] = np.abs(0.05 * self.rise() + 0.01 * self.ar(0.5))
        if self.full:
            slow |= self._groups(dead)
            columns |= self._shape(seen)
            if rng.random() < 0.6:
                columns["trust/sampler_gap"] = self.sampler * ratio
            columns["health/nonfinite"] = np.cumsum(self.broken).astype(float)
        columns |= self.exact
        due = np.zeros(self.length, bool)
        due[:: self.generation] = True
        return self._written(columns, slow, due)

    def _groups(self, dead: Array) -> Mapping[str, Array]:
        solved = np.clip(self.reward, 0, 1)
        solve_all = dead * solved
        return {
            "learning/solve_all": solve_all,
            "learning/solve_none": dead - solve_all,
            "learning/solve_some": 1 - dead,
            "learning/pass@1": solved,
            "text/repetition": np.clip(0.05 + 0.01 * self.ar(0.3), 0, 1),
        }

    def _shape(self, seen: Array) -> dict[str, Array]:
        """Percentiles of the token entropies beside the mean; each with its own scatter and a slow drift."""
        factors = {"p10": (0.001, 0.02), "p50": (0.05, 0.3), "p90": (2.0, 3.5), "p99": (4.0, 7.0)}
        out = {}
        for name, (low, high) in factors.items():
            drift = np.exp(self.rng.uniform(-0.3, 0.3) * self.t / self.length)
            extra = self.percentiles.get(name, np.ones(self.length))
            out[f"entropy/{name}"] = seen * self.rng.uniform(low, high) * drift * extra * np.exp(0.1 * self.ar(0.3))
        return out

    def _written(self, columns: Mapping[str, Array], slow: Mapping[str, Array], due: Array) -> list[Row]:
        rows: list[Row] = []
        sick = ("loss", "grad_norm", "entropy")
        for i in range(self.length):
            step = i + 1
            if self.evaluate_every and (i % self.evaluate_every == 0 or step == self.length):
                rows.append(self._evaluated(i, 0 if i == 0 else step))
            if step % self.every:
                continue
            # A sparse logger averages what came since its last row; the newest generation stands for it here.
            row: Row = {"step": step, **{key: float(values[i]) for key, values in columns.items()}}
            window = due[i - self.every + 1 : i + 1]
            if window.any():
                j = i - self.every + 1 + int(np.flatnonzero(window)[-1])
                row |= {key: float(values[j]) for key, values in slow.items()}
            if self.broken[i]:
                row |= {key: None for key in sick}
            rows.append(row)
        return rows

    def _evaluated(self, i: int, step: int) -> Row:
        row: Row = {"step": step}
        held = {"pass@1": self.right, "pass@8": self.many, **self.held}
        for key, values in held.items():
            p = float(np.clip(values[i], 0, 1))
            scatter = 0.7 * math.sqrt(max(p * (1 - p), 0.01) / self.prompts)
            row[f"evaluate/held/{key}"] = float(np.clip(p + scatter * self.rng.standard_normal(), 0, 1))
        row["evaluate/held/pass@8"] = max(row["evaluate/held/pass@8"], row["evaluate/held/pass@1"])
        row["evaluate/held/entropy"] = float(self.entropy[i])
        return row
