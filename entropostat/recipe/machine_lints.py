"""What the machine at hand cannot run, though another may: `plan` says it, and it is no fault of the recipe."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import visible_gpus
from entropostat.recipe.lint import Lint
from entropostat.recipe.recipe import Recipe


def lints(recipe: Recipe) -> Iterator[Lint]:
    if recipe.launch.strategy == "fsdp2" and not visible_gpus():
        yield Lint(
            "note",
            "launch.strategy",
            "fsdp2 needs GPUs, and this machine has none: accelerate would quietly run ddp on its CPUs",
            "`entropostat launch` refuses it here; use ddp or zero3 on a CPU",
        )
