"""The quickstart's recipe with changes, and what the rules of one topic say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entropostat.recipe import Recipe, load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.lints import lints

RECIPE = """\
name: base
model: {build: {}}
data: {sources: {easy: {chain: {length: 5, size: 4096}}}, curriculum: [{source: easy, steps: 8}]}
reward: [chain: {}]
trainer: {per_device_train_batch_size: 64, steps_per_generation: 4, num_generations: 8}
evaluate: {prompts: 4, samples: 2, k: [1]}
"""
ON_POLICY = "trainer.steps_per_generation=1"
CLIP_COV = "objective.weights.+clip_cov={}"


def recipe(*overrides: str) -> Recipe:
    return load(RECIPES / "quickstart" / "plain.yaml", overrides)


def linted(rules: tuple[Callable[..., Any], ...], *overrides: str) -> set[tuple[str, str]]:
    loaded = recipe(*overrides)
    return {(lint.level, lint.key) for lint in lints(loaded, arithmetic(loaded), rules)}
