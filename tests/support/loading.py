"""Load and plan any text as a recipe, and hold what comes of it to what every recipe has to keep."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from entropostat.cli.plan import plan, text
from entropostat.recipe import Recipe, RecipeError, load
from entropostat.recipe.extends import RECIPES
from entropostat.visible import ODD
from support.pace import pace

SECONDS = 2.0
LONGEST = 2500
"""Characters of a line."""
LINES = 51
GOOD = """\
name: good
model: {build: {}}
data:
  sources: {easy: {chain: {length: 2}}, hard: {chain: {length: 5}}}
  curriculum: [{source: easy, steps: 3}]
reward: [chain: {}]
objective:
  weights: [clip_cov: {fraction: 0.1}]
  penalties: [kl_ref: {coef: 0.001}]
trainer: {learning_rate: 1e-5, max_steps: 4}
"""


def shipped() -> list[Path]:
    """Every recipe of recipes/."""
    return sorted(path for path in RECIPES.rglob("*.yaml") if path.parent.name != "accelerate")


def outcome(path: str, overrides: Sequence[str] = ()) -> tuple[Recipe | None, str]:
    """The recipe, or what the user is told. Any other exception, a hang and raw control characters fail the test."""
    begun = time.process_time()  # whatever else the machine does
    try:
        recipe = load(path, overrides)
        text(recipe, plan(recipe))
    except RecipeError as error:
        recipe, said = None, str(error)
        assert said and len(said.splitlines()) <= LINES and all(len(line) <= LONGEST for line in said.split("\n"))
        assert not ODD.search(said.replace("\n", "")), "raw control characters"
    else:
        said = ""
    spent = time.process_time() - begun
    assert spent < SECONDS or spent < SECONDS * pace(), f"{spent:.1f} s"
    return recipe, said


def comes_back(recipe: Recipe, folder: Path) -> None:
    """What a run writes of its recipe is the same recipe. ``folder`` holds nothing else."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(recipe.dump(), encoding="utf-8")
    again = load(folder / "recipe.yaml")
    assert again == recipe and again.resolved == recipe.resolved and again.dump() == recipe.dump()


def words(said: str) -> str:
    """Without the place: 'x.yaml:3: ' or 'command line: '."""
    return re.sub(r"^(command line|[^:]*(:\d+)?): ", "", said)
