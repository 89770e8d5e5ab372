"""Every method on every task: its numbers, and how its success compares with plain GRPO's on the same seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.claims.cell import PLAIN
from benchmarks.claims.intervals import interval
from benchmarks.claims.measures import COLUMNS, mean, of, paired
from benchmarks.claims.methods import table
from benchmarks.claims.plans import runs_on
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS, Task
from benchmarks.experiment import Result

HEAD = """\
# Every method on every task

Written by `python -m benchmarks.claims pages`. Means over the seeds that were run, of the method's own setting unless a number says which of
its sweep. `difference`: of success to plain GRPO on the same seeds, with a 95 % interval where there are two seeds or more. A run that failed
or was refused counts as one without a right answer. Completions are those that were drawn to train on: a run ends with the generation in which they
reach plain GRPO's, and one that draws fewer says so here. CPU seconds are those of a shared machine and say little below a tenth.
"""


def page(store: Store) -> str:
    return "\n".join([HEAD, *(line for task in TASKS.values() for line in _task(store, task))]) + "\n"


def _task(store: Store, task: Task) -> Iterator[str]:
    plain = of(store.of("report", task.name, PLAIN), task, "success")
    heads = ["method", "seeds", "difference", *COLUMNS.values(), "failed", "collapse", "explosion"]
    yield from (f"## `{task.name}`: {task.title}", "", f"Success: {task.meaning}. Level: {task.level:g}.", "")
    yield from ("| " + " | ".join(heads) + " |", "|---" * len(heads) + "|")
    missing = []
    for method in table():
        rows = sorted({setting for name, setting in store.methods("report", task.name) if name == method})
        for setting in rows:
            yield _row(store.of("report", task.name, method, setting), task, method, setting, plain)
        if not rows and runs_on(method, task):
            missing.append(method)
    yield ""
    if missing:
        yield from (f"Not run yet: {', '.join(f'`{name}`' for name in missing)}.", "")


def _row(runs: Mapping[int, Result], task: Task, method: str, setting: int, plain: Mapping[int, float]) -> str:
    numbers = {key: list(of(runs, task, key).values()) for key in (*COLUMNS, "failed", "collapse", "explosion")}
    change = "" if method == PLAIN else str(interval(paired(of(runs, task, "success"), plain)))
    cells = [_digits(key, numbers[key]) for key in COLUMNS]
    counts = [str(round(sum(numbers[key]))) for key in ("failed", "collapse", "explosion")]
    name = method if setting == 0 else f"{method}, setting {setting}"
    return "| " + " | ".join([name, str(len(runs)), change, *cells, *counts]) + " |"


def _digits(key: str, values: list[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.0f}" if key in ("reached", "samples", "memory") else f"{mean(values):.3f}"
