"""Lints of the ``optimizer`` block: what a launch strategy or another key leaves of it."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.adapter import lora
from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule


def radius(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    block, strategy = recipe.optimizer.step_radius, recipe.launch.strategy
    if block is None:
        return
    if strategy == "fsdp2":
        yield Lint(
            "error",
            "optimizer.step_radius",
            "is not supported under fsdp2",
            "use ddp or a zero strategy, or leave it out",
        )
    if strategy.startswith("zero"):
        yield Lint(
            "note",
            "optimizer.step_radius",
            f"{strategy} steps inside the backward pass: the spread of the last measured step scales the learning rate of "
            "the next one, so the first step is not governed",
            "use single or ddp to have each step itself shortened",
        )
    if block.statistic == "max" and "quantile" in block.model_fields_set:
        yield Lint(
            "warning",
            "optimizer.step_radius.quantile",
            "is not read: the statistic is max",
            "leave it out, or use statistic: quantile",
        )


def muon(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    block, strategy = recipe.optimizer.muon, recipe.launch.strategy
    if block is None:
        return
    if recipe.trainer.get("optim") is not None:
        yield Lint(
            "error",
            "trainer.optim",
            f"{recipe.trainer['optim']} and optimizer.muon both name the optimizer",
            "leave one of them out",
        )
    if strategy == "fsdp2":
        yield Lint(
            "error",
            "optimizer.muon",
            "fsdp2 splits the matrices, which Muon needs whole",
            "use ddp or a zero strategy",
        )
    if strategy.startswith("zero") and block.adjust != "original":
        yield Lint(
            "error",
            "optimizer.muon.adjust",
            f"under {strategy} Muon is DeepSpeed's, which does not offer {block.adjust}",
            "use adjust: original, with a learning_rate to match",
        )
    if strategy.startswith("zero") and trainer_value(recipe, "max_grad_norm"):
        yield Lint(
            "error",
            "trainer.max_grad_norm",
            f"under {strategy} the norm is taken of Muon's step, of size 1 in every direction, and not of the gradient: "
            f"{trainer_value(recipe, 'max_grad_norm'):g} would shrink it many times",
            "set it to 0",
        )
    if lora(recipe.model) is not None:
        yield Lint(
            "warning",
            "optimizer.muon",
            "orthogonalises the two factors of each adapter, each for itself: untested, and not what it was made for",
            "train all weights, or leave it out",
        )


RULES: tuple[Rule, ...] = (radius, muon)
