"""Did the policy get better on held-out prompts? The few evaluations of a run, set by set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entropostat.diagnose.log import Floats, Log, Series

BEFORE, AFTER = 3, 8
"""Evaluations that are averaged at most, to beat the noise of their samples."""
LEAST = 2
"""Fewer say nothing."""


@dataclass(frozen=True)
class Evaluations:
    """One held-out set: pass@1 and the largest pass@k, or its mean reward where nothing judges right and wrong."""

    name: str
    right: Series
    many: Series


def evaluations(log: Log) -> list[Evaluations]:
    sets = []
    for name in dict.fromkeys(
        key.split("/")[1] for key in log.keys if key.startswith("evaluate/") and key.count("/") > 1
    ):
        right = log.series(f"evaluate/{name}/pass@1").finite
        ks = [int(k) for k in log.middles(f"evaluate/{name}/pass@", "") if k.isdecimal() and k.isascii()]
        many = log.series(f"evaluate/{name}/pass@{max(ks)}").finite if ks else right
        if len(right):
            sets.append(Evaluations(name, right, many if len(many) == len(right) else right))
    return sets


def level(values: Floats, last: int) -> float:
    return float(values[-last:].mean()) if len(values) else float("nan")


def change(sets: list[Evaluations], before: float, since: float, now: float) -> tuple[float, float, str, int] | None:
    """(change of pass@k, of pass@1, set, evaluations averaged) from the evaluations up to step ``before`` to those in [since, now], on the set that
    changed for the better the most. None where there are too few."""
    best: tuple[float, float, str, int] | None = None
    for one in sets:
        b = max(int(one.right.count(before)), 1)
        a, z = int(np.searchsorted(one.right.steps, since)), int(one.right.count(now))
        if z - a < LEAST or a < b:
            continue
        steps = [level(s.values[a:z], AFTER) - level(s.values[:b], BEFORE) for s in (one.many, one.right)]
        if best is None or sum(steps) > best[0] + best[1]:
            best = (steps[0], steps[1], one.name, min(z - a, AFTER))
    return best
