"""Combinations that are valid key by key and still do nothing, or something else than they say.

A rule is a function of a ``Case``; a file holds those of one theme in its ``RULES``. A new rule is a function and its name there;
one of level ``error`` also needs a case in tests/support/refused.py.
"""

from __future__ import annotations

from typing import Literal

from entropostat.recipe.arithmetic import Arithmetic
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints import (
    adapters,
    batch,
    controllers,
    critic,
    evaluation,
    form,
    model,
    objective,
    optimizer,
    partition,
    prompts,
    reference,
    rewards,
    sampler_mismatch,
    sampling,
    sources,
    stream,
    teacher,
)
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.recipe import Recipe

LEVELS: tuple[Literal["error", "warning", "note"], ...] = ("error", "warning", "note")
RULES: tuple[Rule, ...] = (
    *model.RULES,
    *adapters.RULES,
    *objective.RULES,
    *sampling.RULES,
    *sampler_mismatch.RULES,
    *controllers.RULES,
    *batch.RULES,
    *reference.RULES,
    *optimizer.RULES,
    *critic.RULES,
    *partition.RULES,
    *rewards.RULES,
    *form.RULES,
    *stream.RULES,
    *prompts.RULES,
    *teacher.RULES,
    *sources.RULES,
    *evaluation.RULES,
)
"""Of the recipe alone. ``machine`` holds those of the machine at hand."""


def lints(recipe: Recipe, sizes: Arithmetic, rules: tuple[Rule, ...] = RULES) -> list[Lint]:
    """Errors first."""
    raised = [lint for rule in rules for lint in rule(Case(recipe, sizes))]
    return sorted(raised, key=lambda lint: LEVELS.index(lint.level))
