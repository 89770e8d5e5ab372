"""The law R = -a exp(H) + b (arXiv:2505.22617, Sec. 2) on uncontrolled runs: fitted early, it foretells the rest; how well?

Of every run of plain GRPO: reward and entropy of its generations. The first ``PREFIX`` of them are fitted, and the error is that of
what the law then says of the others at the entropies that they had. Beside it: the error of saying the mean of the prefix, and that
of the law fitted to the whole run. The paper fits 15 % of its runs, 36 steps; so short a prefix has two generations here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.claims.cell import PLAIN
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS
from entropostat.rl.diagnostics.law import fit

PREFIX = 0.5
PAPER = {"mathematics": (0.009, 0.005), "code": (0.012, 0.019)}
"""Root mean square error of the rest and error at the last step, accuracy in shares: Sec. 2 of the paper."""
LEFT_OUT = {"switch": "its prompts change on the way", "fooled": "its reward is a model's"}


class Foretold(NamedTuple):
    """Of one run."""

    error: float
    """Root mean square over the generations after the prefix."""
    last: float
    """Absolute, at the last generation."""
    constant: float
    """As ``error``, where the mean reward of the prefix is said instead."""
    whole: float
    """As ``error`` over all generations, of the law that was fitted to all."""
    a: float


def foretold(points: Sequence[Sequence[float]], prefix: float = PREFIX) -> Foretold | None:
    """``points``: (step, reward, entropy) of each generation. None where the prefix does not say what a and b are."""
    rewards, entropies = [p[1] for p in points], [p[2] for p in points]
    cut = max(2, round(prefix * len(points)))
    early, whole = fit(entropies[:cut], rewards[:cut]), fit(entropies, rewards)
    if not (math.isfinite(early.a) and math.isfinite(whole.a)) or cut >= len(points):
        return None
    misses = [early.at(h) - r for h, r in zip(entropies[cut:], rewards[cut:], strict=True)]
    guess = statistics.mean(rewards[:cut])
    everywhere = [whole.at(h) - r for h, r in zip(entropies, rewards, strict=True)]
    return Foretold(_rms(misses), abs(misses[-1]), _rms([guess - r for r in rewards[cut:]]), _rms(everywhere), whole.a)


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(statistics.fmean(value * value for value in values))


def section(store: Store) -> list[str]:
    """Medians over runs, task by task."""
    lines = [
        "| task | runs | a > 0 | error of the rest | at the end | of the prefix's mean | of the law over the whole run |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for task in TASKS:
        runs = [run for stage in ("report", "twin") for run in store.of(stage, task, PLAIN).values() if "points" in run]
        if task in LEFT_OUT:
            continue
        told = [one for run in runs if (one := foretold(run["points"])) is not None]
        if not told:
            lines.append(f"| `{task}` | not run yet | | | | | |")
            continue
        middle = lambda key, told=told: f"{statistics.median(getattr(one, key) for one in told):.3f}"
        cells = [f"{len(told)} of {len(runs)}", f"{sum(one.a > 0 for one in told)}"]
        cells += [middle(key) for key in ("error", "last", "constant", "whole")]
        lines.append(f"| `{task}` | " + " | ".join(cells) + " |")
    for what, (error, last) in PAPER.items():
        lines.append(f"| the paper's, {what} | | | {error:.3f} | {last:.3f} | | |")
    return lines
