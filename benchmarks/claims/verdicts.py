"""The rule by which a paper's claim gets its verdict, from intervals of paired differences.

A claim names a metric, a direction and the least effect that counts, ``at_least``; its tasks; and what it is compared with. On each
task the effect is the mean difference to that row, paired by seed and counted in the claim's direction, with its 95 % interval:

    holds here       the interval lies above ``margin`` (0, or below 0 for 'no worse') and its middle at ``at_least`` or above
    something of it  the interval lies above ``margin`` and its middle below ``at_least``
    does not         the interval lies below ``at_least``
    undecided        anything else: more seeds

    holds            holds on every task
    holds in part    on some task it holds, or there is something of it
    does not hold here   it does not on every task
    undecided        anything else
    not run yet      on some task fewer than five seeds have both rows
    not testable at this size   the claim is about what no task has; claims.yaml says what
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from benchmarks.claims.cell import PLAIN
from benchmarks.claims.intervals import Interval, interval
from benchmarks.claims.measures import of, paired
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS

FILE = Path(__file__).with_name("claims.yaml")
FEWEST = 5
"""Pairs of runs without which nothing is said."""
HOLDS, SOME, NOT, OPEN = "holds here", "something of it", "does not", "undecided"
VERDICTS = ("holds", "holds in part", "does not hold here", "undecided", "not run yet", "not testable at this size")
SIGN = {"higher": 1.0, "lower": -1.0}


class Claim(NamedTuple):
    """One entry of claims.yaml."""

    method: str
    claim: str
    """In our words, what the paper says of the method."""
    source: str
    metric: str = ""
    """A key of measures.py."""
    direction: str = "higher"
    at_least: float = 0.0
    """The least effect that counts, in the metric's unit."""
    margin: float = 0.0
    """The interval must lie above it: below 0 for 'no worse'."""
    tasks: tuple[str, ...] = ()
    against: str = PLAIN
    untestable: str = ""
    """Why no run here can say anything."""


@lru_cache(maxsize=1)
def claims() -> tuple[Claim, ...]:
    """Raises TypeError for an entry with a key that a claim does not have, ValueError for one that could never be judged."""
    entries: list[dict[str, Any]] = YAML(typ="safe").load(FILE.read_text())
    made = tuple(Claim(**{**entry, "tasks": tuple(entry.get("tasks", ()))}) for entry in entries)
    for one in made:
        if not one.untestable and not (
            one.metric and one.tasks and one.direction in SIGN and set(one.tasks) <= TASKS.keys()
        ):
            raise ValueError(f"{FILE.name}: {one.method}: give metric, direction and tasks, or untestable: why")
    return made


class Judged(NamedTuple):
    verdict: str
    effects: dict[str, Interval]
    """By task, in the claim's direction."""


def judged(claim: Claim, store: Store) -> Judged:
    if claim.untestable:
        return Judged(VERDICTS[5], {})
    effects = {task: effect(claim, task, store) for task in claim.tasks}
    if any(one.count < FEWEST for one in effects.values()):
        return Judged(VERDICTS[4], effects)
    return Judged(verdict([on_task(one, claim) for one in effects.values()]), effects)


def effect(claim: Claim, name: str, store: Store) -> Interval:
    task = TASKS[name]
    ours, theirs = (of(store.of("report", name, row), task, claim.metric) for row in (claim.method, claim.against))
    return interval([SIGN[claim.direction] * change for change in paired(ours, theirs)])


def on_task(one: Interval, claim: Claim) -> str:
    if one.low > claim.margin:
        return HOLDS if one.mean >= claim.at_least else SOME
    return NOT if one.high < claim.at_least else OPEN


def verdict(parts: list[str]) -> str:
    if all(part == HOLDS for part in parts):
        return VERDICTS[0]
    if any(part in (HOLDS, SOME) for part in parts):
        return VERDICTS[1]
    return VERDICTS[2] if all(part == NOT for part in parts) else VERDICTS[3]


def counted(store: Store) -> Mapping[str, int]:
    found = [judged(claim, store).verdict for claim in claims()]
    return {name: found.count(name) for name in VERDICTS}
