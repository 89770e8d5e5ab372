"""The declared table of methods: what each adds to a task's recipe, and its sweep."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.claims.cell import PLAIN, Added, plain
from benchmarks.claims.tasks import Task
from benchmarks.experiment import ROOT

FILE = Path(__file__).with_name("methods.yaml")
RECIPES = ROOT / "recipes" / "methods"
BASE = ROOT / "recipes" / "quickstart" / "plain.yaml"
OURS = ("name", "data", "model", "reward", "evaluate", "tracking", "output_dir", "seed")
"""Blocks of a method's recipe that are of the quickstart and not of the method."""
TRIED = 3
"""Settings of each method: the recipe's and those of its sweep, as many for all."""
FACTORS = (0.5, 2.0)
"""The sweep of a method without a knob of its own: the learning rate, times these."""


@lru_cache(maxsize=1)
def table() -> dict[str, dict[str, Any]]:
    """Method -> its row of methods.yaml; those of recipes/methods that it does not name have an empty one."""
    rows: dict[str, dict[str, Any]] = YAML(typ="safe").load(FILE.read_text())
    names = [PLAIN, *sorted(path.stem for path in RECIPES.glob("*.yaml"))]
    return {name: rows.get(name) or {} for name in dict.fromkeys([*names, *rows])}


def added(method: str, task: Task, setting: int = 0) -> Added:
    """What a method adds to a task. Setting 0 is its recipe's; 1 and 2 are those of its sweep. Raises KeyError for an unknown one."""
    row = table()[method]
    recipe: dict[str, Any] = {}
    if method != PLAIN:
        file = ROOT / row["recipe"] if "recipe" in row else RECIPES / f"{method}.yaml"
        recipe = dict(row["add"]) if "add" in row else recipe_overlay(file)
    words = tuple(row.get("words", ()))
    return Added(recipe, words if setting == 0 else (*words, sweep(row, task)[setting - 1]))


def sweep(row: Mapping[str, Any], task: Task) -> list[str]:
    """The other settings of a method, as overrides."""
    if "sweep" in row:
        return list(row["sweep"])
    rate = plain(task.recipe)["trainer"]["learning_rate"]
    return [f"trainer.learning_rate={rate * factor:g}" for factor in FACTORS]


def recipe_overlay(path: Path) -> dict[str, Any]:
    """What a recipe that extends the quickstart's plain one changes in it, but for what is of the quickstart itself."""
    changed = difference(plain(path), plain(BASE))
    return {key: value for key, value in changed.items() if key not in OURS}


def difference(one: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of ``one`` that ``base`` lacks or has otherwise; mappings are compared key by key."""
    out: dict[str, Any] = {}
    for key, value in one.items():
        if key not in base:
            out[key] = value
        elif isinstance(value, Mapping) and isinstance(base[key], Mapping):
            if inner := difference(value, base[key]):
                out[key] = inner
        elif value != base[key]:
            out[key] = value
    return out
