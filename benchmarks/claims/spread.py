"""What plain GRPO does on each task, before anything is compared with it: how runs spread, and what that asks of seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmarks.claims.cell import PLAIN
from benchmarks.claims.intervals import DIFFERENCE, interval, seeds_needed, visible
from benchmarks.claims.measures import of, paired
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import SEEDS, TASKS, Task
from benchmarks.experiment import Result

HEAD = """\
# Plain GRPO on the six tasks

Written by `python -m benchmarks.claims pages` from the runs in this folder. Before any method is compared: what plain GRPO does on ten
seeds, how its runs spread, and how many seeds a difference of .05 needs.

Each run has a first policy of its own, pre-trained on its seed. Success is not the same thing in all tasks; it is measured on 64
held-out prompts x 8 samples at temperature 1. The tasks were made with seeds 300 and 301, of which no run is reported: lengths of runs, the
puzzle's shape and its learning rate were chosen so that plain GRPO moves, and that success at the start leaves room.
"""


def page(store: Store) -> str:
    return "\n".join([HEAD, *_definitions(), "", *_runs(store), "", *_power(store)]) + "\n"


def _definitions() -> list[str]:
    lines = ["| task | what it is | success | steps | level |", "|---|---|---|---|---|"]
    for task in TASKS.values():
        lines.append(f"| `{task.name}` | {task.title} | {task.meaning} | {task.steps} | {task.level:g} |")
    return lines


def _runs(store: Store) -> list[str]:
    lines = ["## Its runs", "", "Success by seed, at the start and at the end.", ""]
    lines += [
        "| task | start, mean | " + " | ".join(map(str, SEEDS)) + " | mean | deviation | at the level | diagnosed |"
    ]
    lines.append("|---|---|" + "---|" * (len(SEEDS) + 4))
    for task in TASKS.values():
        runs = store.of("report", task.name, PLAIN)
        ends, starts = of(runs, task, "success"), of(runs, task, "start")
        cells = [f"{ends[seed]:.3f}" if seed in ends else "not run yet" for seed in SEEDS]
        if not ends:
            lines.append(f"| `{task.name}` | | " + " | ".join(cells) + " | | | | |")
            continue
        values = list(ends.values())
        told = [f"{statistics.mean(values):.3f}", f"{statistics.stdev(values):.3f}" if len(values) > 1 else ""]
        told.append(f"{sum(value >= task.level for value in values)} of {len(values)}")
        lines.append(
            f"| `{task.name}` | {statistics.mean(starts.values()):.3f} | "
            + " | ".join([*cells, *told, _found(runs)])
            + " |"
        )
    return lines


def _found(runs: Mapping[int, Result]) -> str:
    rules = [rule for run in runs.values() for rule in run.get("findings", [])]
    failed = sum(run["status"] != "done" for run in runs.values())
    told = [f"{rules.count(rule)} x {rule}" for rule in sorted(set(rules))]
    return ", ".join([*told, *([f"{failed} failed"] if failed else [])])


def deviations(store: Store, task: Task) -> tuple[float | None, float | None]:
    """Of success between seeds, and of the difference of two trainings of one seed; None below three of them."""
    runs = of(store.of("report", task.name, PLAIN), task, "success")
    twins = paired(of(store.of("twin", task.name, PLAIN), task, "success"), runs)
    between = statistics.stdev(runs.values()) if len(runs) > 2 else None
    return between, statistics.stdev(twins) if len(twins) > 2 else None


def _power(store: Store) -> list[str]:
    lines = [
        "## Seeds that a difference needs",
        "",
        f"For a two-sided t test at .05 that sees a difference of {DIFFERENCE:g} in success four times in five. Unpaired: both rows have seeds of",
        "their own, and the deviation of a difference is sqrt(2) times that between seeds. Paired: both rows start from the same first policy,",
        "and the deviation is that of the difference between two trainings of plain GRPO from one first policy. The bench pairs.",
        "Of few pairs a deviation is itself uncertain: its 95 % interval goes from .52 to 6.3 times the number with three, from .69 to 1.8 with ten.",
        "",
        "| task | deviation between seeds | of a pair | pairs | mean difference of pairs | seeds, unpaired | seeds, paired | what five pairs show | ten |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task in TASKS.values():
        between, pair = deviations(store, task)
        runs = of(store.of("report", task.name, PLAIN), task, "success")
        twins = paired(of(store.of("twin", task.name, PLAIN), task, "success"), runs)
        cells = [
            f"{between:.3f}" if between is not None else "not run yet",
            f"{pair:.3f}" if pair is not None else "not run yet",
        ]
        cells += [str(len(twins)), str(interval(twins)) if len(twins) > 2 else ""]
        cells.append(str(seeds_needed(2**0.5 * between)) if between is not None else "")
        cells.append(str(seeds_needed(pair)) if pair is not None else "")
        cells += [f"{visible(pair, n):.2f}" if pair is not None else "" for n in (5, 10)]
        lines.append(f"| `{task.name}` | " + " | ".join(cells) + " |")
    return lines
