"""What the machine at hand cannot run, though another may: `plan` notes it, and a command that runs here refuses it."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import visible_gpus
from entropostat.recipe.lint import Lint
from entropostat.recipe.packages import missing, missing_engine
from entropostat.recipe.recipe import Recipe


def of_train(recipe: Recipe) -> Iterator[Lint]:
    """What training in one process takes."""
    yield from missing(recipe)


def of_launch(recipe: Recipe) -> Iterator[Lint]:
    """What `launch` takes beside that."""
    if recipe.launch.strategy == "fsdp2" and not visible_gpus():
        yield Lint(
            "note",
            "launch.strategy",
            "fsdp2 needs GPUs, and this machine has none: accelerate would quietly run ddp on its CPUs",
            "launch it where there are some, or use ddp or zero3",
        )
    yield from missing_engine(recipe)
