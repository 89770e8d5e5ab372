"""Which cells there are, and in which order they are run: what tells most comes first."""

from __future__ import annotations

import fnmatch
import statistics
from collections.abc import Callable, Mapping

from benchmarks.claims.cell import PLAIN, Added, Cell
from benchmarks.claims.methods import TRIED, added, table
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import SEEDS, TASKS, TUNING, Task

Cells = dict[Cell, Added]


def chosen(cells: Cells, pattern: str) -> Cells:
    """Those whose names match."""
    return {cell: what for cell, what in cells.items() if fnmatch.fnmatchcase(str(cell), pattern)}


def runs_on(method: str, task: Task) -> bool:
    """A teacher of chains says nothing of other tasks, and nothing of being fooled."""
    return table()[method].get("needs") != "teacher" or task.name in ("hard", "switch", "noisy")


def rows(each: Callable[[Task], int]) -> int:
    """Cells of all methods on all tasks that they run on, with so many for a method on a task."""
    return sum(each(task) for task in TASKS.values() for method in table() if runs_on(method, task))


def plain(store: Store) -> Cells:
    """Ten seeds of plain GRPO on every task, then again with other random numbers of training."""
    return {
        Cell(stage, task.name, PLAIN, 0, seed): added(PLAIN, task)
        for stage in ("report", "twin")
        for seed in SEEDS
        for task in TASKS.values()
    }


def tuning(store: Store) -> Cells:
    """Every setting of every method on the tuning seeds."""
    return {
        Cell("tune", task.name, method, setting, seed): added(method, task, setting)
        for task in TASKS.values()
        if not task.tuned_as
        for seed in TUNING
        for method in table()
        for setting in range(TRIED)
        if runs_on(method, task)
    }


def tuned(store: Store, task: Task, method: str) -> int | None:
    """The setting with the best mean training reward on the tuning seeds; None where some of them did not run.

    A setting that failed once is never chosen. Rewards of one method alone are compared: on others' scales they need not be.
    """
    rewards: dict[int, float] = {}
    for setting in range(TRIED):
        found = store.of("tune", task.tuned_as or task.name, method, setting)
        if not found.keys() >= set(TUNING):
            return None
        if all(one["status"] == "done" for one in found.values()):
            rewards[setting] = statistics.mean(one["reward"] for one in found.values())
    return max(rewards, key=lambda setting: rewards[setting], default=0)


def reported(store: Store) -> Cells:
    """Every method at its recipe's setting and, where tuning chose another one, at that: seed by seed, so that what is cut short is
    short of seeds and not of methods.
    """
    settings = {
        (task.name, method): sorted({0, tuned(store, task, method) or 0})
        for task in TASKS.values()
        for method in table()
        if runs_on(method, task)
    }
    return {
        Cell("report", task, method, setting, SEEDS[nth]): added(method, TASKS[task], setting)
        for nth in range(max(task.seeds for task in TASKS.values()))
        for (task, method), chosen_ones in settings.items()
        if nth < TASKS[task].seeds
        for setting in chosen_ones
    }


SECONDS = 12.0
"""Of a core of its own, for a cell of a task that nothing was run of yet."""


def estimate(store: Store, stages: Mapping[str, Cells], jobs: int) -> str:
    """What is left of each stage, by the time that a step has taken so far and that looks take beside it."""
    lines, whole = [], 0.0
    for name, cells in stages.items():
        left = [cell for cell in cells if str(cell) not in store.cells]
        seconds = sum(_seconds(store, TASKS[cell.task]) for cell in left)
        whole += seconds
        lines.append(f"{name:8} {len(left):5} of {len(cells):5} cells left, {seconds / 3600:5.1f} core-hours")
    return "\n".join(
        [*lines, f"{whole / 3600:.1f} core-hours, {whole / 3600 / max(jobs, 1):.1f} hours with --jobs {jobs}"]
    )


def _seconds(store: Store, task: Task) -> float:
    taken = [one["cpu"] for key, one in store.cells.items() if f"|{task.name}|" in key and "cpu" in one]
    return statistics.median(taken) * task.steps * LOOKS if taken else SECONDS


LOOKS = 1.4
"""A cell's time over that of its steps: building the trainer, and looking at held-out prompts."""
