"""Lints of what is evaluated, how, and at what cost."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.evaluated import cost, sampling
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule


def more_than_training(case: Case) -> Iterator[Lint]:
    """By tokens at most, which count both how many completions there are and how long they may be."""
    block, most = case.recipe.evaluate, cost(case.recipe, case.sizes)
    if most.all_tokens is None or most.training_tokens is None or most.all_tokens <= most.training_tokens:
        return
    often = ", or raise evaluate.every" if block.every and most.times and most.times > 2 else ""
    yield Lint(
        "warning",
        "evaluate",
        f"generates up to {most.all_tokens:,} tokens in {most.times} evaluations, and training {most.training_tokens:,}",
        f"lower evaluate.prompts, evaluate.samples or evaluate.max_new_tokens{often}",
    )


def temperature_that_moves(case: Case) -> Iterator[Lint]:
    drawn = sampling(case.recipe)
    if drawn.moved is not None and case.recipe.evaluate.prompts:
        whose = "sampler.temperature" if case.recipe.evaluate.temperature is None else "evaluate.temperature"
        yield Lint(
            "note",
            drawn.moved,
            f"moves the temperature of training alone: every evaluation samples at {drawn.temperature:g}, {whose}",
            "set evaluate.temperature for another",
        )


def two_of_one_name(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    for name in recipe.sets if recipe.data.held_out else ():
        if name in recipe.sources:
            yield Lint(
                "error",
                f"evaluate.sets.{name}",
                "is the name of a source too, whose held-out prompts would not be evaluated",
                "give the set another name",
            )


RULES: tuple[Rule, ...] = (more_than_training, temperature_that_moves, two_of_one_name)
