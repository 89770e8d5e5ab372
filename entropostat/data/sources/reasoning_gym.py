"""Procedurally generated reasoning tasks with their own scorers."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropostat.data.deadline import deadline
from entropostat.data.example import DataError, Example, identifier
from entropostat.data.registry import MOST, SOURCES, Source
from entropostat.rl.registry import option
from entropostat.rl.spelling import unknown
from entropostat.visible import shorten

HASHED = (
    "isomorphic_strings",
    "knight_swap",
    "list_functions",
    "polynomial_multiplication",
    "ransom_note",
    "word_ladder",
)
"""Tasks of reasoning-gym 0.1 that iterate over sets of strings, so that the same seed gives each process its own prompts
unless they all have one PYTHONHASHSEED."""

MIX = "composite"
"""The task that mixes others. It does not mix mixtures: its scorer looks for the innermost task."""
PARTS = ("name", "weight", "config")
SECONDS = 60.0
"""For one prompt. The slowest task takes a few with its own defaults."""


@SOURCES.register("reasoning_gym", paper="https://arxiv.org/abs/2505.24760")
@dataclass(frozen=True)
class ReasoningGym(Source):
    """A task of reasoning-gym by name. Nothing is downloaded: a task is a generator.

    The scorer may need the generator's own objects (tuples, dates, integer keys), which JSON would not keep. So an
    example carries the recipe of its task and its index, and the verifier generates it again.
    """

    task: str = option(doc="name of the task, e.g. chain_sum")
    size: int = option(512, low=1, high=MOST, doc="prompts to generate")
    seed: int = option(0, low=0, high=2**32 - 1, doc="seed of the generator")
    options: dict[str, Any] = option(factory=dict, doc="the task's own options, e.g. {min_terms: 2}")  # noqa: RUF009

    one_answer = False

    def load(self, base: Path | None = None) -> list[Example]:
        recipe = {"task": self.task, "size": self.size, "seed": self.seed, "options": self.options}
        self._check_hashing()
        with self._told("the task"):
            dataset = generator(recipe)
        return [self._example(dataset, index, recipe) for index in range(self.size)]

    def _example(self, dataset: Any, index: int, recipe: dict[str, Any]) -> Example:
        with self._told(f"prompt {index}"):
            item = dataset[index]
            return Example(
                prompt=item["question"],
                answer=None if item["answer"] is None else str(item["answer"]),
                meta=recipe | {"index": index},
                id=identifier(self.task, item["question"], index),
            )

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Many tasks draw until one fits, which with some options none does."""
        where = f"data source reasoning_gym, task {self.task}, options {shorten(self.options)}"
        try:
            with deadline(SECONDS, f"{where}: {what} is not there after {SECONDS:g} s; ease the options"):
                yield
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{where}: {what} cannot be made: {shorten(error)}; ease the options") from error

    def _check_hashing(self) -> None:
        """Ranks and workers must generate the same prompts."""
        named = [task for task in HASHED if task == self.task or task in repr(self.options)]
        if named and not os.environ.get("PYTHONHASHSEED", "random").isdigit():
            raise DataError(
                f"data source reasoning_gym, task {named[0]}: its prompts differ from process to process; "
                "set PYTHONHASHSEED=0 in the environment"
            )


def generator(recipe: dict[str, Any]) -> Any:
    """The reasoning-gym dataset that ``recipe`` (task, size, seed, options) describes."""
    try:
        import reasoning_gym  # type: ignore[import-untyped]
        from reasoning_gym.factory import DATASETS  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError("data source reasoning_gym needs a package: pip install reasoning-gym") from error
    task, options = str(recipe["task"]), recipe["options"]
    if task not in DATASETS:
        raise DataError(f"data source reasoning_gym: {unknown('task', task, DATASETS)}")
    _check_options(task, options, DATASETS, {"size", "seed"})
    built = {**options, "datasets": _mixed(options.get("datasets"), DATASETS)} if task == MIX else options
    try:
        return reasoning_gym.create_dataset(task, size=recipe["size"], seed=recipe["seed"], **built)
    except Exception as error:  # a task checks its options, or does not
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"data source reasoning_gym, task {task}, options {options}: {reason}") from error


def _check_options(task: str, options: dict[str, Any], tasks: Mapping[str, Any], fixed: set[str]) -> None:
    known = set(tasks[task][1].__dataclass_fields__) - fixed
    for key in options:
        if key not in known:
            raise DataError(f"data source reasoning_gym, task {task}: {unknown('option', key, known)}")


def _mixed(given: Any, tasks: Mapping[str, Any]) -> list[Any]:
    """What the mixture of tasks takes, of ``[{name: chain_sum, weight: 1, config: {min_terms: 2}}, ...]``."""
    from reasoning_gym.composite import DatasetSpec  # type: ignore[import-untyped]

    here = f"data source reasoning_gym, task {MIX}, options.datasets"
    if not isinstance(given, list) or not given:
        raise DataError(f"{here}: must be a list, such as [{{name: chain_sum, weight: 1, config: {{min_terms: 2}}}}]")
    for index, part in enumerate(given):
        place = f"{here}.{index}"
        if not isinstance(part, dict):
            raise DataError(f"{place}: must be a mapping of name, weight and config, not {part!r:.60}")
        for key in part:
            if key not in PARTS:
                raise DataError(f"{place}: {unknown('key', key, PARTS)}")
        name, weight, config = part.get("name"), part.get("weight", 1.0), part.get("config", {})
        if name not in tasks or name == MIX:
            raise DataError(f"{place}.name: {unknown('task', str(name), [task for task in tasks if task != MIX])}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise DataError(f"{place}.weight: must be a number above 0, not {weight!r:.60}")
        if not isinstance(config, dict):
            raise DataError(f"{place}.config: must be a mapping of the task's options, not {config!r:.60}")
        _check_options(str(name), config, tasks, set())
    return [DatasetSpec(part["name"], float(part.get("weight", 1.0)), dict(part.get("config", {}))) for part in given]
