"""Procedurally generated reasoning tasks with their own scorers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropostat.data.example import DataError, Example, identifier
from entropostat.data.registry import SOURCES, Source
from entropostat.rl.registry import option
from entropostat.rl.spelling import unknown

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


@SOURCES.register("reasoning_gym", paper="https://arxiv.org/abs/2505.24760")
@dataclass(frozen=True)
class ReasoningGym(Source):
    """A task of reasoning-gym by name. Nothing is downloaded: a task is a generator.

    The scorer may need the generator's own objects (tuples, dates, integer keys), which JSON would not keep. So an
    example carries the recipe of its task and its index, and the verifier generates it again.
    """

    task: str = option(doc="name of the task, e.g. chain_sum")
    size: int = option(512, low=1, doc="prompts to generate")
    seed: int = option(0, low=0, high=2**32 - 1, doc="seed of the generator")
    options: dict[str, Any] = option(factory=dict, doc="the task's own options, e.g. {min_terms: 2}")  # noqa: RUF009

    def load(self, base: Path | None = None) -> list[Example]:
        recipe = {"task": self.task, "size": self.size, "seed": self.seed, "options": self.options}
        self._check_hashing()
        dataset = generator(recipe)
        return [
            Example(
                prompt=item["question"],
                answer=None if item["answer"] is None else str(item["answer"]),
                meta=recipe | {"index": index},
                id=identifier(self.task, item["question"], index),
            )
            for index, item in enumerate(dataset[i] for i in range(self.size))
        ]

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
