"""Packages that a recipe needs and this machine lacks: extras, and what is made for Linux alone. Notes: another may have them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec

from entropostat.recipe.adapter import of_model
from entropostat.recipe.lint import Lint
from entropostat.recipe.recipe import Recipe


def missing(recipe: Recipe) -> Iterator[Lint]:
    """What training in one process takes."""
    for key, wanted, package in (
        ("model.peft", recipe.model.peft is not None, "peft"),
        ("model.path", of_model(recipe.model) is not None, "peft"),
        ("trainer.use_vllm", recipe.trainer.get("use_vllm"), "vllm"),
        ("model.load_in_4bit", recipe.model.load_in_4bit, "bitsandbytes"),
        ("tracking.trackio", recipe.tracking.trackio is not None, "trackio"),
        ("tracking.tensorboard", recipe.tracking.tensorboard is not None, "tensorboard"),
    ):
        if wanted and find_spec(package) is None:
            yield Lint("note", key, f"needs the package {package}", f"pip install 'entropostat[{package}]'")


def missing_engine(recipe: Recipe) -> Iterator[Lint]:
    """What `launch` takes beside that."""
    if recipe.launch.strategy.startswith("zero") and find_spec("deepspeed") is None:
        fix = "pip install deepspeed" if sys.platform == "linux" else "it is for Linux alone: use ddp here"
        yield Lint("note", "launch.strategy", f"{recipe.launch.strategy} needs DeepSpeed", fix)
