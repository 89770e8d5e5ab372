"""What the machine at hand cannot run, though another may: `plan` notes it, and a command that runs here refuses it."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import visible_gpus
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.packages import missing, missing_engine


def packages(case: Case) -> Iterator[Lint]:
    yield from missing(case.recipe)


def engine(case: Case) -> Iterator[Lint]:
    yield from missing_engine(case.recipe)


def fsdp_without_gpus(case: Case) -> Iterator[Lint]:
    if case.recipe.launch.strategy == "fsdp2" and not visible_gpus():
        yield Lint(
            "note",
            "launch.strategy",
            "fsdp2 needs GPUs, and this machine has none: accelerate would quietly run ddp on its CPUs",
            "launch it where there are some, or use ddp or zero3",
        )


def four_bits_without_gpus(case: Case) -> Iterator[Lint]:
    if case.recipe.model.load_in_4bit and not visible_gpus():
        yield Lint(
            "note",
            "model.load_in_4bit",
            "bitsandbytes trains on GPUs alone, and this machine has none",
            "train where there are some, or leave it out",
        )


TRAIN: tuple[Rule, ...] = (packages, four_bits_without_gpus)
"""Of training in one process."""
LAUNCH: tuple[Rule, ...] = (*TRAIN, fsdp_without_gpus, engine)
