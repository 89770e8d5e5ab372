"""A default that is earned: the rule by which one of candidates.yaml is chosen, and what it does where it was not chosen.

The rule, written before a candidate was run: on the tasks of a round and five seeds that are used for nothing else, every candidate of the round
and plain GRPO are ranked by mean pass@1 and by mean pass@8 at the end, two ranks a task. The one with the best mean rank is chosen, of those of which
no run failed, was diagnosed with a collapse, an explosion or a lost reward, or ended below half of the pass@1 that it began with; where two are level,
the one that stands first in the file, which is the simpler one. A round has what the round before chose among its candidates.

The goal: on two kinds of task, pass@8 at least 1.5 times plain GRPO's and pass@1 no worse, where no worse is a mean difference of -.03 or more;
and no run lost anywhere. It is judged on the other tasks, and on seeds of which nothing was looked at. What a later round chose becomes the default
where it reaches the goal on at least as many tasks as what stood before, and loses no more runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from benchmarks.claims.cell import PLAIN, Added, Cell, plain
from benchmarks.claims.intervals import Interval, interval
from benchmarks.claims.measures import mean, measures, of, paired
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS, K, Task
from benchmarks.experiment import Result

FILE = Path(__file__).with_name("candidates.yaml")
RANKED = ("final", f"pass@{K}")
GAIN, WORSE = 1.5, -0.03
LOST = ("collapse", "explosion", "reward-lost")


@dataclass(frozen=True)
class Round:
    """What is chosen on which tasks and seeds, and tried on which."""

    number: int
    tasks: Mapping[str, tuple[str, ...]]
    seeds: Mapping[str, tuple[int, ...]]
    """Both by stage: choose, and then confirm."""
    why: str

    def runs(self, store: Store, task: str, name: str) -> dict[int, Result]:
        """Seed -> run, of the stage that the task belongs to here."""
        stage = next(stage for stage, tasks in self.tasks.items() if task in tasks)
        return {seed: run for seed, run in store.of(stage, task, name).items() if seed in self.seeds[stage]}

    def cells(self, stage: str, names: list[str]) -> dict[Cell, Added]:
        return {
            Cell(stage, task, name, 0, seed): added(name, TASKS[task])
            for seed in self.seeds[stage]
            for task in self.tasks[stage]
            for name in names
        }


ROUNDS = (
    Round(
        1,
        {"choose": ("hard", "puzzle"), "confirm": ("rare", "switch", "fooled", "noisy")},
        {"choose": tuple(range(320, 325)), "confirm": tuple(range(330, 335))},
        "Sixteen combinations; the last three were added after a look at some runs of the others.",
    ),
    Round(
        2,
        {"choose": ("hard", "puzzle", "rare"), "confirm": ("switch", "fooled", "noisy")},
        {"choose": tuple(range(350, 355)), "confirm": tuple(range(360, 365))},
        "What the first chose holds the policy back where a right answer is rare, and a reference that follows does not: `rare` is chosen on now, and "
        "what follows, or holds the KL, is tried at half the rate. Of these candidates nothing was run before, here or elsewhere.",
    ),
)


@lru_cache(maxsize=1)
def candidates() -> dict[str, dict[str, Any]]:
    """All of the file, and plain GRPO."""
    rows: dict[str, dict[str, Any]] = YAML(typ="safe").load(FILE.read_text())
    return {PLAIN: {}, **rows}


def added(name: str, task: Task) -> Added:
    recipe = {key: value for key, value in candidates()[name].items() if key not in ("round", "rate")}
    if rate := candidates()[name].get("rate"):
        recipe["trainer"] = {"learning_rate": rate * plain(task.recipe)["trainer"]["learning_rate"]}
    return Added(recipe)


def entered(store: Store, one: Round) -> list[str]:
    """Those that are ranked in a round: plain GRPO, what the round before chose, and its own; none while the round before is not over."""
    own = [name for name, recipe in candidates().items() if name != PLAIN and recipe.get("round", 1) == one.number]
    if one.number == 1:
        return [PLAIN, *own]
    before = chosen(store, ROUNDS[one.number - 2])
    return [PLAIN, before, *own] if before else []


def choosing(store: Store) -> dict[Cell, Added]:
    """Of all rounds."""
    return {cell: what for one in ROUNDS for cell, what in one.cells("choose", entered(store, one)).items()}


def confirming(store: Store) -> dict[Cell, Added]:
    """Of the rounds in which one is chosen."""
    best = [(one, chosen(store, one)) for one in ROUNDS]
    return {cell: what for one, name in best if name for cell, what in one.cells("confirm", [PLAIN, name]).items()}


def chosen(store: Store, one: Round) -> str | None:
    """The candidate; None where some of them were not run on every task and seed."""
    cells = one.cells("choose", entered(store, one))
    if not cells or any(str(cell) not in store.cells for cell in cells):
        return None
    ranks = mean_ranks(store, one)
    fit = [name for name in ranks if not lost(store, one, "choose", name)]
    return min(fit, key=lambda name: ranks[name], default=None)


def default(store: Store) -> tuple[Round, str] | None:
    """What a round chose, and no later one did better than."""
    best: tuple[Round, str] | None = None
    for one in ROUNDS:
        name = chosen(store, one)
        if name and (best is None or _no_worse(judged(store, one, name), judged(store, *best))):
            best = one, name
    return best


class Judged(NamedTuple):
    """Of what a round chose, over the tasks that it is tried on."""

    tried: int
    reached: int
    """Tasks on which it reached the goal."""
    lost: int


def judged(store: Store, one: Round, name: str) -> Judged:
    found = [told for task in one.tasks["confirm"] if (told := confirmed(store, one, name, task)) is not None]
    return Judged(len(found), sum(told.goal for told in found), sum(told.lost for told in found))


def _no_worse(new: Judged, old: Judged) -> bool:
    return bool(new.tried) and new.reached >= old.reached and new.lost <= old.lost


def mean_ranks(store: Store, one: Round) -> dict[str, float]:
    """Candidate -> mean over tasks and metrics of its rank; 1 is best, and candidates that are level share the middle."""
    ranks: dict[str, list[float]] = {name: [] for name in entered(store, one)}
    for task in one.tasks["choose"]:
        for key in RANKED:
            scores = {name: _score(store, one, task, name, key) for name in ranks}
            for name, score in scores.items():
                above = sum(other > score for other in scores.values())
                level = sum(other == score for other in scores.values())
                ranks[name].append(above + (level + 1) / 2)
    return {name: mean(of_one) for name, of_one in ranks.items()}


def _score(store: Store, one: Round, task: str, name: str, key: str) -> float:
    return mean(list(of(one.runs(store, task, name), TASKS[task], key).values()))


def lost(store: Store, one: Round, stage: str, name: str) -> int:
    """Runs that count as lost."""
    return sum(is_lost(run, task) for task in one.tasks[stage] for run in one.runs(store, task, name).values())


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


def confirmed(store: Store, one: Round, name: str, task: str) -> Confirmed | None:
    ours, theirs = one.runs(store, task, name), one.runs(store, task, PLAIN)
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
    rounds = [line for one in ROUNDS for line in (f"### Round {one.number}", "", one.why, "", *_round(store, one), "")]
    best = default(store)
    return [*rounds, f"The default: **{best[1]}**." if best else "No default yet."]


def _round(store: Store, one: Round) -> list[str]:
    best = chosen(store, one)
    if best is None:
        cells = one.cells("choose", entered(store, one))
        return [f"Not run yet: {sum(str(cell) in store.cells for cell in cells)} of {len(cells)} cells."]
    tasks = one.tasks["choose"]
    heads = [f"`{task}` {key}" for task in tasks for key in ("pass@1", f"pass@{K}", "entropy kept")]
    lines = ["| candidate | mean rank | runs lost | " + " | ".join(heads) + " |", "|---" * (3 + len(heads)) + "|"]
    ranks = mean_ranks(store, one)
    for name in sorted(ranks, key=lambda name: ranks[name]):
        cells = [f"{_score(store, one, task, name, key):.3f}" for task in tasks for key in (*RANKED, "kept")]
        bold = f"**{name}**" if name == best else name
        lines.append(f"| {bold} | {ranks[name]:.2f} | {lost(store, one, 'choose', name)} | " + " | ".join(cells) + " |")
    return [*lines, "", f"Chosen: **{best}**.", "", *_confirmation(store, one, best)]


def _confirmation(store: Store, one: Round, best: str) -> list[str]:
    found = {task: told for task in one.tasks["confirm"] if (told := confirmed(store, one, best, task)) is not None}
    if not found:
        return ["Not confirmed yet: it was run nowhere else."]
    lines = [
        f"| task | seeds | pass@{K}, of plain GRPO's | pass@1, difference | runs lost | of plain GRPO's | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, told in found.items():
        row = (f"`{task}`", told.seeds, f"{told.ratio:.2f}", told.change, told.lost, told.lost_plain)
        lines.append("| " + " | ".join(map(str, row)) + f" | {'reached' if told.goal else 'missed'} |")
    tried, reached, gone = judged(store, one, best)
    verdict = "The goal is reached."
    if reached < 2 or gone:
        verdict = (
            f"The goal is not reached: on {reached} of {tried} tasks where two are asked for, and runs lost: {gone}."
        )
    return [*lines, "", verdict]
