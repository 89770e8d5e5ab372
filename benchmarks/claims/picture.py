"""Differences of success to plain GRPO, with their intervals, one panel a task."""

from __future__ import annotations

import math
from pathlib import Path

from benchmarks.claims.cell import PLAIN
from benchmarks.claims.intervals import Interval, interval
from benchmarks.claims.measures import of, paired
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS, Task


def differences(store: Store, task: Task) -> dict[str, Interval]:
    """Row -> its interval, of the rows with at least two seeds, the best first."""
    plain = of(store.of("report", task.name, PLAIN), task, "success")
    rows = {
        method if setting == 0 else f"{method} ({setting})": paired(
            of(store.of("report", task.name, method, setting), task, "success"), plain
        )
        for method, setting in store.methods("report", task.name)
        if method != PLAIN
    }
    found = {name: interval(values) for name, values in rows.items() if len(values) > 1}
    return dict(sorted(found.items(), key=lambda item: -item[1].mean))


def draw(store: Store, path: Path) -> bool:
    """False where there is nothing to draw yet, and then no picture either."""
    panels = {task: found for task in TASKS.values() if (found := differences(store, task))}
    path.unlink(missing_ok=True)
    if not panels:
        return False
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tallest = max(map(len, panels.values()))
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 1.2 + 0.2 * tallest), squeeze=False)
    for axis, (task, found) in zip(axes[0], panels.items(), strict=True):
        middles = [one.mean for one in found.values()]
        halves = [one.high - one.mean if math.isfinite(one.high) else 0.0 for one in found.values()]
        axis.errorbar(middles, range(len(found)), xerr=halves, fmt="o", ms=3, lw=1)
        axis.set_yticks(range(len(found)), list(found), fontsize=7)
        axis.set_ylim(tallest - 0.5, -0.5)  # a row is as high in every panel, however few there are
        axis.axvline(0, color="k", lw=0.6)
        axis.set(title=task.title, xlabel="success, less plain GRPO's")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return True
