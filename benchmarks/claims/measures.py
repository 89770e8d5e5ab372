"""What is compared: numbers of one run, of the same meaning on every task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchmarks.claims.tasks import K, Task
from benchmarks.experiment import Result

WORST = 0.0
"""What a run that failed or was refused has of every share of right answers: it counts."""
SHARES = ("success", "final", "best", f"pass@{K}", "distinct", "mean")
COLUMNS = {
    "success": "success",
    "final": "pass@1",
    "best": "best pass@1",
    f"pass@{K}": f"pass@{K}",
    "distinct": "different right of 8",
    "kept": "entropy kept",
    "length": "length",
    "reached": "steps to the level",
    "samples": "completions",
    "cpu": "CPU s a step",
    "memory": "MB",
}


def measures(result: Result, task: Task) -> dict[str, float]:
    """Of a run that ended: what its looks say. Of another: the worst there is, and no number where none is worst.

    ``kept``: entropy at the end over that of the first policy. ``mean``: pass@1 over the run. ``reached``: the first look at which
    success is at the task's level, and one look more than there are where it never is.
    """
    looks: Mapping[int, Mapping[str, float]] = {int(step): look for step, look in result.get("looks", {}).items()}
    never = float(task.steps + task.every)
    if result["status"] != "done":
        return dict.fromkeys(SHARES, WORST) | {"reached": never, "failed": 1.0, "collapse": 0.0, "explosion": 0.0}
    first, last = looks[0], looks[max(looks)]
    return {
        "success": last[task.success],
        "final": last["pass@1"],
        "best": max(look["pass@1"] for look in looks.values()),
        "mean": sum(look["pass@1"] for look in looks.values()) / len(looks),
        f"pass@{K}": last[f"pass@{K}"],
        "distinct": last["distinct"],
        "kept": last["entropy"] / first["entropy"],
        "length": last["length"],
        "working": last["working"],
        "start": first[task.success],
        "reached": float(next((step for step in sorted(looks) if looks[step][task.success] >= task.level), never)),
        "reward": result["reward"],
        "samples": float(result["samples"]),
        "cpu": result["cpu"],
        "memory": result["memory"],
        "failed": 0.0,
        "collapse": float("collapse" in result["findings"]),
        "explosion": float("explosion" in result["findings"]),
    }


def of(runs: Mapping[int, Result], task: Task, key: str) -> dict[int, float]:
    """Seed -> one number, without the runs that have none."""
    found = {seed: measures(run, task).get(key, math.nan) for seed, run in sorted(runs.items())}
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Differences on the seeds that both have."""
    return [value - theirs[seed] for seed, value in ours.items() if seed in theirs]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
