"""Procedurally generated reasoning tasks with their own scorers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropostat.data.deadline import deadline
from entropostat.data.example import DataError, Example, identifier
from entropostat.data.registry import MOST, SOURCES
from entropostat.rl.registry import option, unknown
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

SECONDS = 60.0
"""For one prompt. The slowest task takes a few with its own defaults."""


@SOURCES.register("reasoning_gym", paper="https://arxiv.org/abs/2505.24760")
@dataclass(frozen=True)
class ReasoningGym:
    """A task of reasoning-gym by name. Nothing is downloaded: a task is a generator.

    The scorer may need the generator's own objects (tuples, dates, integer keys), which JSON would not keep. So an
    example carries the recipe of its task and its index, and the verifier generates it again.
    """

    task: str = option(doc="name of the task, e.g. chain_sum")
    size: int = option(512, low=1, high=MOST, doc="prompts to generate")
    seed: int = option(0, doc="seed of the generator")
    options: dict[str, Any] = option(factory=dict, doc="the task's own options, e.g. {min_terms: 2}")  # noqa: RUF009

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
    task, options = recipe["task"], recipe["options"]
    if task not in DATASETS:
        raise DataError(f"data source reasoning_gym: {unknown('task', task, DATASETS)}")
    known = set(DATASETS[task][1].__dataclass_fields__) - {"size", "seed"}
    for key in options:
        if key not in known:
            raise DataError(f"data source reasoning_gym, task {task}: {unknown('option', key, known)}")
    try:
        return reasoning_gym.create_dataset(task, size=recipe["size"], seed=recipe["seed"], **options)
    except (AssertionError, ValueError, TypeError) as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"data source reasoning_gym, task {task}, options {options}: {reason}") from error
