"""A default that is earned: the rule by which one of candidates.yaml is chosen, and what it does where it was not chosen.

The rule, written before a candidate was run (three more were added after a look at some runs of the others): on the tasks `hard` and `puzzle` and
five seeds that are used for nothing else, every candidate and plain GRPO are ranked by mean pass@1 and by mean pass@8 at the end, four ranks each.
The one with the best mean rank is chosen, of those of which no run failed, was diagnosed with a collapse, an explosion or a lost reward, or ended
below half of the pass@1 that it began with; where two are level, the one that stands first in the file, which is the simpler one.

The goal: on two kinds of task, pass@8 at least 1.5 times plain GRPO's and pass@1 no worse, where no worse is a mean difference of -.03 or more;
and no run lost anywhere. It is judged on tasks and seeds of which nothing was looked at: `rare`, `switch`, `fooled` and `noisy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from benchmarks.claims.cell import PLAIN, Added, Cell, plain
from benchmarks.claims.intervals import Interval, interval
from benchmarks.claims.measures import mean, measures, of, paired
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS, K, Task

FILE = Path(__file__).with_name("candidates.yaml")
CHOOSE, CONFIRM = ("hard", "puzzle"), ("rare", "switch", "fooled", "noisy")
CHOOSING, CONFIRMING = tuple(range(320, 325)), tuple(range(330, 335))
"""Seeds."""
RANKED = ("final", f"pass@{K}")
GAIN, WORSE = 1.5, -0.03
LOST = ("collapse", "explosion", "reward-lost")


@lru_cache(maxsize=1)
def candidates() -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = YAML(typ="safe").load(FILE.read_text())
    return {PLAIN: {}, **rows}


def added(name: str, task: Task) -> Added:
    recipe = dict(candidates()[name])
    if rate := recipe.pop("rate", None):
        recipe["trainer"] = {"learning_rate": rate * plain(task.recipe)["trainer"]["learning_rate"]}
    return Added(recipe)


def choosing(store: Store) -> dict[Cell, Added]:
    return {
        Cell("choose", task, name, 0, seed): added(name, TASKS[task])
        for seed in CHOOSING
        for task in CHOOSE
        for name in candidates()
    }


def confirming(store: Store) -> dict[Cell, Added]:
    """Nothing until one is chosen."""
    best = chosen(store)
    return {
        Cell("confirm", task, name, 0, seed): added(name, TASKS[task])
        for seed in CONFIRMING
        for task in CONFIRM
        for name in ((PLAIN, best) if best else ())
    }


def chosen(store: Store) -> str | None:
    """The candidate; None where some of them were not run on every task and seed."""
    if any(str(cell) not in store.cells for cell in choosing(store)):
        return None
    ranks = mean_ranks(store)
    fit = [name for name in ranks if not lost(store, "choose", name)]
    return min(fit, key=lambda name: ranks[name], default=None)


def mean_ranks(store: Store) -> dict[str, float]:
    """Candidate -> mean over tasks and metrics of its rank; 1 is best, and candidates that are level share the middle."""
    ranks: dict[str, list[float]] = {name: [] for name in candidates()}
    for task in CHOOSE:
        for key in RANKED:
            scores = {name: _score(store, task, name, key) for name in ranks}
            for name, score in scores.items():
                above = sum(other > score for other in scores.values())
                level = sum(other == score for other in scores.values())
                ranks[name].append(above + (level + 1) / 2)
    return {name: mean(of_one) for name, of_one in ranks.items()}


def _score(store: Store, task: str, name: str, key: str) -> float:
    return mean(list(of(store.of("choose", task, name), TASKS[task], key).values()))


def lost(store: Store, stage: str, name: str) -> int:
    """Runs that count as lost."""
    return sum(
        is_lost(run, task)
        for task in (CHOOSE if stage == "choose" else CONFIRM)
        for run in store.of(stage, task, name).values()
    )


def is_lost(run: Mapping[str, Any], task: str) -> bool:
    if run["status"] != "done" or set(LOST) & set(run["findings"]):
        return True
    told = measures(run, TASKS[task])
    first = run["looks"][min(run["looks"], key=int)]["pass@1"]
    return told["final"] < 0.5 * first


class Confirmed(NamedTuple):
    """Of one task: the chosen one beside plain GRPO."""

    seeds: int
    ratio: float
    """Of mean pass@8."""
    change: Interval
    """Of pass@1, paired."""
    lost: int
    lost_plain: int

    @property
    def goal(self) -> bool:
        return self.ratio >= GAIN and self.change.mean >= WORSE


def confirmed(store: Store, name: str, task: str) -> Confirmed | None:
    ours, theirs = store.of("confirm", task, name), store.of("confirm", task, PLAIN)
    if not ours or not theirs:
        return None
    ends = [of(runs, TASKS[task], f"pass@{K}") for runs in (ours, theirs)]
    both = sorted(set(ends[0]) & set(ends[1]))
    ratio = mean([ends[0][seed] for seed in both]) / max(mean([ends[1][seed] for seed in both]), 1e-9)
    change = interval(paired(of(ours, TASKS[task], "final"), of(theirs, TASKS[task], "final")))
    return Confirmed(
        len(both), ratio, change, *(sum(is_lost(run, task) for run in runs.values()) for runs in (ours, theirs))
    )


def section(store: Store) -> list[str]:
    best = chosen(store)
    done = sum(str(cell) in store.cells for cell in choosing(store))
    if best is None:
        return [f"Not run yet: {done} of {len(choosing(store))} cells."]
    heads = [f"`{task}` {key}" for task in CHOOSE for key in ("pass@1", f"pass@{K}", "entropy kept")]
    lines = ["| candidate | mean rank | runs lost | " + " | ".join(heads) + " |", "|---" * (3 + len(heads)) + "|"]
    ranks = mean_ranks(store)
    for name in sorted(ranks, key=lambda name: ranks[name]):
        cells = [f"{_score(store, task, name, key):.3f}" for task in CHOOSE for key in (*RANKED, "kept")]
        bold = f"**{name}**" if name == best else name
        lines.append(f"| {bold} | {ranks[name]:.2f} | {lost(store, 'choose', name)} | " + " | ".join(cells) + " |")
    return [*lines, "", f"Chosen: **{best}**.", "", *_confirmation(store, best)]


def _confirmation(store: Store, best: str) -> list[str]:
    found = {task: one for task in CONFIRM if (one := confirmed(store, best, task)) is not None}
    if not found:
        return ["Not confirmed yet: it was run nowhere else."]
    lines = [
        f"| task | seeds | pass@{K}, of plain GRPO's | pass@1, difference | runs lost | of plain GRPO's | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, one in found.items():
        row = (f"`{task}`", one.seeds, f"{one.ratio:.2f}", one.change, one.lost, one.lost_plain)
        lines.append("| " + " | ".join(map(str, row)) + f" | {'reached' if one.goal else 'missed'} |")
    reached = sum(one.goal for one in found.values())
    gone = sum(one.lost for one in found.values())
    verdict = "The goal is reached."
    if reached < 2 or gone:
        verdict = f"The goal is not reached: on {reached} of {len(found)} tasks where two are asked for, and runs lost: {gone}."
    return [*lines, "", verdict]
