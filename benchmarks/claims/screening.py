"""Which of the parts that people combine work together, and which cancel: Plackett and Burman's design of 12 runs, folded over.

Eight factors, on or off, take the first eight columns; the other three are left empty, and their contrasts tell the noise. The
fold-over turns every sign, so that main effects are clear of all interactions of two, which they share in 12 runs alone. What the
24 rows say of interactions is seen in the even part: contrasts of products of two columns, each of which is mixed with others.

An effect is the mean of success where a factor is on, less where it is off. Its interval is over seeds: each seed runs all 24 rows
from one first policy, and gives one contrast.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from benchmarks.claims.cell import Added, Cell
from benchmarks.claims.intervals import Interval, interval
from benchmarks.claims.measures import of
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import SEEDS, TASKS

TASK = "hard"
GENERATOR = "++-+++---+-"
"""Plackett and Burman 1946, N = 12: shifted eleven times, and a row of minuses."""
FACTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "clip-higher": ("loss", {"trl": {"epsilon_high": 0.28}}),
    "KL-Cov": ("penalties", {"kl_cov": {"fraction": 2.0e-2}}),
    "anchor": ("penalties", {"kl_ref": {"coef": 0.3}}),
    "entropy loop": ("penalties", {"entropy_bonus": {"coef": {"step": {"target": 0.2}}}}),
    "80/20": ("weights", {"high_entropy": {}}),
    "STEER": ("weights", {"steer": {"lambda_min": 0.7}}),
    "entropy-shaped": ("advantages", {"entropy_shaped": {"alpha": 0.4, "kappa": 2.0}}),
    "dynamic sampling": ("data", {"dynamic_sampling": {"max_rounds": 4}}),
}
EMPTY = 3


def design() -> np.ndarray:
    """(24, 11) of -1 and 1: twelve rows and their mirror images; the columns of each half are orthogonal."""
    first = np.array([1 if sign == "+" else -1 for sign in GENERATOR])
    rows = np.array([np.roll(first, shift) for shift in range(11)] + [[-1] * 11])
    return np.concatenate([rows, -rows])


def combined(signs: Mapping[str, int]) -> Added:
    """The recipe with the factors that are on."""
    objective: dict[str, Any] = {"advantages": [{"grpo": {}}]}
    for name, (slot, term) in FACTORS.items():
        if signs[name] < 0:
            continue
        if slot == "loss":
            objective[slot] = term
        else:
            objective[slot] = [*objective.get(slot, []), term]
    return Added({"objective": objective})


def plan(store: Store, seeds: tuple[int, ...] = SEEDS[:5]) -> dict[Cell, Added]:
    rows = design()
    return {
        Cell("screen", TASK, f"row {n + 1}", 0, seed): combined(dict(zip(FACTORS, map(int, row), strict=False)))
        for seed in seeds
        for n, row in enumerate(rows)
    }


def outcomes(store: Store) -> dict[int, np.ndarray]:
    """Seed -> (24,) success of the rows, of the seeds of which all rows were run."""
    by_row = [of(store.of("screen", TASK, f"row {n + 1}"), TASKS[TASK], "success") for n in range(24)]
    whole = set.intersection(*(set(row) for row in by_row))
    return {seed: np.array([row[seed] for row in by_row]) for seed in sorted(whole)}


def main_effects(found: Mapping[int, np.ndarray]) -> dict[str, Interval]:
    """Of the factors and of the empty columns, which have none: what stands there is noise."""
    columns = design()
    names = [*FACTORS, *(f"empty {k + 1}" for k in range(EMPTY))]
    return {name: interval([_contrast(y, columns[:, k]) for y in found.values()]) for k, name in enumerate(names)}


def pair_effects(found: Mapping[int, np.ndarray]) -> dict[tuple[str, str], Interval]:
    """Contrasts of products. In the folded design none is mixed with a main effect, and each is partly mixed with other pairs."""
    columns, names = design(), list(FACTORS)
    return {
        (names[i], names[j]): interval([_contrast(y, columns[:, i] * columns[:, j]) for y in found.values()])
        for i, j in combinations(range(len(names)), 2)
    }


def _contrast(outcome: np.ndarray, signs: np.ndarray) -> float:
    return float(outcome[signs > 0].mean() - outcome[signs < 0].mean())


def section(store: Store) -> list[str]:
    found = outcomes(store)
    done = sum(len(store.of("screen", TASK, f"row {n + 1}")) for n in range(24))
    if not found:
        return [f"Not run yet: {done} of {24 * 5} cells."]
    lines = [f"{len(found)} of 5 seeds, {24 * len(found)} cells.", "", "| factor | effect on success |", "|---|---|"]
    lines += [f"| {name} | {effect} |" for name, effect in main_effects(found).items()]
    pairs = sorted(pair_effects(found).items(), key=lambda item: -abs(item[1].mean))
    lines += ["", "The five largest contrasts of pairs:", "", "| pair | contrast |", "|---|---|"]
    return [*lines, *(f"| {' x '.join(pair)} | {effect} |" for pair, effect in pairs[:5])]
