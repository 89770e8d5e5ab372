"""The steps that `plan` shows are the steps that `train` makes, whatever says how many there are."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from entropostat.cli import plan
from entropostat.data.curriculum import Pools
from entropostat.recipe import Recipe, load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.trainers.prompts import load_data, plan_prompts

BASE = "entropostat:quickstart/plain.yaml"
SMALL = [f"data.sources.{name}.chain.size=60" for name in ("easy", "hard")]
DATA = [*SMALL, "data.curriculum=null", "data.held_out=0.2", "trainer.max_steps=-1"]


def config(recipe: Recipe) -> Any:
    """As TRL fills it in, for one process."""
    sizes, fields = arithmetic(recipe), recipe.trainer
    return SimpleNamespace(
        generation_batch_size=sizes.generation,
        num_generations=sizes.group,
        steps_per_generation=fields.get("steps_per_generation"),
        gradient_accumulation_steps=sizes.accumulation,
        num_iterations=fields.get("num_iterations", 1),
        max_steps=fields.get("max_steps", -1),
        num_train_epochs=fields.get("num_train_epochs", 3.0),
    )


def pools(recipe: Recipe) -> Pools:
    return {name: rows.places for name, rows in load_data(recipe).train.items()}


@pytest.mark.parametrize("epochs", [None, 0.5, 1, 2, 3.5])
def test_passes_over_the_prompts_are_those_that_plan_shows(epochs: float | None) -> None:
    recipe = load(BASE, [*DATA, *([] if epochs is None else [f"trainer.num_train_epochs={epochs}"])])
    order = plan_prompts(recipe, config(recipe), pools(recipe))
    once = sum(map(len, pools(recipe).values())) // arithmetic(recipe).prompts * arithmetic(recipe).updates
    assert order.steps == int(once * (3 if epochs is None else epochs))
    assert len(order.rows) * arithmetic(recipe).updates >= order.steps * arithmetic(recipe).prompts
    told = plan.plan(recipe)["steps"]
    assert told is None or abs(told - order.steps) <= 0.2 * order.steps, (
        "plan knows the size before prompts are held out"
    )


def test_each_pass_has_every_prompt_once_and_in_another_order() -> None:
    recipe = load(BASE, [*DATA, "trainer.num_train_epochs=2"])
    order = plan_prompts(recipe, config(recipe), pools(recipe))
    size = sum(map(len, pools(recipe).values()))
    first, second = order.rows[:size].tolist(), order.rows[size : 2 * size].tolist()
    assert len(second) > size // 2 and first[: len(second)] != second
    assert max(Counter(order.rows.tolist()).values()) <= 2


def test_max_steps_and_a_curriculum_win() -> None:
    recipe = load(BASE, [*DATA, "trainer.max_steps=7", "trainer.num_train_epochs=9"])
    assert plan_prompts(recipe, config(recipe), pools(recipe)).steps >= 7
    staged = load(BASE, [*DATA, "data.curriculum=[{source: easy, steps: 8}]", "trainer.num_train_epochs=9"])
    assert plan_prompts(staged, config(staged), pools(staged)).steps == 8 == plan.plan(staged)["steps"]
