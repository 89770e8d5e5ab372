"""One cell of the bench: a method's recipe on a task, trained on one seed, and what came of it."""

from __future__ import annotations

import json
import math
import resource
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

from benchmarks.claims.tasks import TASKS, TWIN, Task
from benchmarks.experiment import Line, Result, experiment

Tree = dict[str, Any]
"""A recipe as plain values, with nothing left to extend."""
PLAIN = "plain GRPO"
"""The method that adds nothing."""
STAGES = ("report", "twin", "tune", "screen", "choose", "confirm", "finding")
"""twin: training again from the same first policy, with other random numbers. screen: a row of the screening design. choose,
confirm: of a default. finding: of what was seen in the others."""


@dataclass(frozen=True)
class Cell:
    stage: str
    task: str
    method: str
    setting: int
    """0: the method's recipe; from 1: the sweep of methods.yaml."""
    seed: int

    def __str__(self) -> str:
        return "|".join(map(str, (self.stage, self.task, self.method, self.setting, self.seed)))

    @classmethod
    def parse(cls, name: str) -> Cell:
        """Raises ValueError for what is no cell's name."""
        parts = name.split("|")
        if len(parts) != 5 or parts[0] not in STAGES or parts[1] not in TASKS:
            raise ValueError(f"{name!r} names no cell; it looks like 'report|hard|kl_cov|0|300'")
        return cls(parts[0], parts[1], parts[2], int(parts[3]), int(parts[4]))


class Added(NamedTuple):
    """What a method adds to a task's recipe."""

    recipe: Mapping[str, Any] = MappingProxyType({})
    words: tuple[str, ...] = ()
    """Overrides, as on the command line."""


class Made(NamedTuple):
    """Of what a cell's recipe is made: all that it takes to have it again, whatever becomes of the files."""

    base: Tree
    """The task's recipe."""
    added: Added

    def tree(self) -> Tree:
        from entropostat.recipe.extends import resolve

        with tempfile.TemporaryDirectory() as folder:
            base, file = Path(folder) / "base.yaml", Path(folder) / "cell.yaml"
            base.write_text(json.dumps(self.base))
            file.write_text(json.dumps({"extends": base.name, **self.added.recipe}))
            tree: Tree = resolve(file, self.added.words).plain
        return tree


@lru_cache(maxsize=256)
def plain(path: Path) -> Tree:
    """A recipe with its parents, as plain values."""
    from entropostat.recipe.extends import resolve

    tree: Tree = resolve(path).plain
    return tree


def made(task: Task, added: Added) -> Made:
    return Made(plain(task.recipe), added)


def whole(task: Task, added: Added) -> Tree:
    """The task's recipe with what a method adds to it."""
    return made(task, added).tree()


def seeded(tree: Tree, task: Task, seed: int, twin: bool) -> list[str]:
    """What makes a tree a run: the seed of the first policy, of the reward model and the teacher, and that of training."""
    words = [f"seed={seed + TWIN * twin}", f"model.build.seed={seed}"]
    if "teacher" in tree:
        words.append(f"teacher.build.seed={seed}")
    if any("model" in term for term in tree["reward"] if isinstance(term, dict)):
        words.append(f"reward.model.build.seed={seed}")
    return [*words, "tracking.diagnose=false"]


def run(tree: Tree, task: Task, seed: int, twin: bool = False, points: bool = False) -> Result:
    """Train it. ``points`` keeps reward and entropy of every generation, which the law needs.

    Whatever stops a run is its result: 'refused' by the recipe's checks, 'failed' by anything else, a NaN included.
    """
    from entropostat.faults import SetupError
    from entropostat.recipe import RecipeError

    try:
        return {"status": "done", **_trained(tree, task, seed, twin, points)}
    except (RecipeError, SetupError) as error:
        return {"status": "refused", "why": _short(error)}
    except Exception as error:  # noqa: BLE001 a run that breaks is a result
        return {"status": "failed", "why": _short(error)}


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:300]


def _trained(tree: Tree, task: Task, seed: int, twin: bool, points: bool) -> Result:
    from benchmarks.claims import kinds
    from benchmarks.claims.budget import Budget
    from benchmarks.claims.probe import Probe

    kinds.announce()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(json.dumps(tree))
        words = seeded(tree, task, seed, twin)
        if task.own_policy:
            words += _own_policy(file, words, seed)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with experiment(file, words) as one:
            probe, budget = Probe(one, task.every), Budget(one.trainer, task.steps)
            for callback in (budget, probe):
                one.trainer.add_callback(callback)
            began = time.process_time()
            lines = one.train()
            seconds = time.process_time() - began - probe.seconds
            vocabulary = len(one.trainer.processing_class)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    return told(lines, probe.looks, vocabulary, points) | {
        "samples": budget.drawn,
        "cpu": round(seconds / max(1, max(probe.looks)), 4),
        "memory": round(grown / 1024, 1),
    }


def _own_policy(file: Path, words: list[str], seed: int) -> list[str]:
    from benchmarks.claims.policies import build
    from entropostat.recipe import load

    recipe = load(str(file), words)
    assert recipe.model.build is not None
    return ["model.build=null", f"model.path={build(recipe.model.build, recipe.data.held_out, seed)}"]


def told(lines: list[Line], looks: Mapping[int, Mapping[str, float]], vocabulary: int, points: bool) -> Result:
    """What is kept of a run: its looks, its training reward, and what ``diagnose`` says of its log."""
    from entropostat.diagnose import examine

    if not all(math.isfinite(value) for look in looks.values() for value in look.values()):
        raise FloatingPointError("the policy's entropy is not a number at the end")
    rewards = [(line["step"], line["reward"], line["entropy"]) for line in lines if "reward" in line and "loss" in line]
    late = [reward for step, reward, _ in rewards if step > 0.75 * max(looks)] or [rewards[-1][1]]
    findings = examine(SimpleNamespace(rows=lines, vocabulary=vocabulary))
    result: Result = {
        "looks": {str(step): {key: round(value, 4) for key, value in look.items()} for step, look in looks.items()},
        "reward": round(statistics.mean(late), 4),
        "findings": sorted({finding.rule for finding in findings}),
    }
    if points:
        result["points"] = [[step, round(reward, 4), round(entropy, 4)] for step, reward, entropy in rewards]
    return result
