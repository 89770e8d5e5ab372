"""What the runs showed that no paper says, and whether it is there on seeds of its own.

Each line of findings.yaml was written after a look at the runs of the other sections, and then put to the test on eight seeds of which nothing had been
run: the mean difference of two rows on the same seeds, with Student's 95 % interval. It stands where the interval lies on its side of 0 and the
mean reaches the least effect that was written down beforehand; it falls where the interval lies below that effect; else it is undecided.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from benchmarks.claims import methods, recommend
from benchmarks.claims.cell import Added, Cell
from benchmarks.claims.intervals import Interval, interval
from benchmarks.claims.measures import COLUMNS, of, paired
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS, Task

FILE = Path(__file__).with_name("findings.yaml")
FRESH = tuple(range(340, 348))
"""Seeds."""
STANDS, FALLS, OPEN = "stands", "falls", "undecided"


class Finding(NamedTuple):
    says: str
    seen: str
    """Where it was seen first."""
    task: str
    metric: str
    """A key of measures.py."""
    more: str
    """The row that has more of it than ``less``: a method, or a candidate of recommend.py."""
    less: str
    at_least: float
    """The least difference that counts."""


@lru_cache(maxsize=1)
def findings() -> tuple[Finding, ...]:
    entries: list[dict[str, Any]] = YAML(typ="safe").load(FILE.read_text())
    return tuple(Finding(**entry) for entry in entries)


def added(row: str, task: Task) -> Added:
    return recommend.added(row, task) if row in recommend.candidates() else methods.added(row, task)


def plan(store: Store) -> dict[Cell, Added]:
    return {
        Cell("finding", one.task, row, 0, seed): added(row, TASKS[one.task])
        for seed in FRESH
        for one in findings()
        for row in (one.more, one.less)
    }


def effect(one: Finding, store: Store) -> Interval:
    more, less = (of(store.of("finding", one.task, row), TASKS[one.task], one.metric) for row in (one.more, one.less))
    return interval(paired(more, less))


def judged(one: Finding, found: Interval) -> str:
    if found.count < len(FRESH):
        return "not run yet"
    if found.low > 0 and found.mean >= one.at_least:
        return STANDS
    return FALLS if found.high < one.at_least else OPEN


def section(store: Store) -> list[str]:
    lines = ["| finding | seen in | difference | at least | |", "|---|---|---|---|---|"]
    for one in findings():
        found = effect(one, store)
        what = f"{COLUMNS[one.metric]} on `{one.task}`, {one.more} less {one.less}"
        told = f"{what}: {found}, {found.count} seeds" if found.count > 1 else what
        lines.append(f"| {one.says} | {one.seen} | {told} | {one.at_least:g} | {judged(one, found)} |")
    return lines
