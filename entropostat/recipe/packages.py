"""Packages that a recipe needs and this machine lacks: extras, and what is made for Linux alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

from entropostat.recipe.adapter import of_model
from entropostat.recipe.recipe import Recipe


class Missing(NamedTuple):
    key: str
    """Of the recipe: what needs it."""
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}; {self.fix}"


def missing(recipe: Recipe) -> Iterator[Missing]:
    """What training in one process takes."""
    for key, wanted, package in (
        ("model.peft", recipe.model.peft is not None, "peft"),
        ("model.path: an adapter", of_model(recipe.model) is not None, "peft"),
        ("trainer.use_vllm", recipe.trainer.get("use_vllm"), "vllm"),
        ("tracking.trackio", recipe.tracking.trackio is not None, "trackio"),
    ):
        if wanted and find_spec(package) is None:
            yield Missing(key, f"needs the package {package}", f"pip install 'entropostat[{package}]'")


def missing_engine(recipe: Recipe) -> Iterator[Missing]:
    """What `launch` takes beside that."""
    if recipe.launch.strategy.startswith("zero") and find_spec("deepspeed") is None:
        fix = "pip install deepspeed" if sys.platform == "linux" else "it is for Linux alone: use ddp here"
        yield Missing("launch.strategy", f"{recipe.launch.strategy} needs DeepSpeed", fix)
