"""Recipes: YAML files that say what to train and how. ``load`` is the only door for the rest of the project."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from entropostat.recipe.anchor import anchor
from entropostat.recipe.check import check
from entropostat.recipe.errors import Problem, RecipeError, real
from entropostat.recipe.extends import locate, resolve
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.terms import Term

__all__ = ["Problem", "Recipe", "RecipeError", "Term", "load"]


def load(path: str | PathLike[str], overrides: Iterable[str] = ()) -> Recipe:
    """The recipe at ``path`` (a file, or ``entropostat:base/grpo.yaml`` for one of the package), with ``key=value``
    overrides applied. Raises ``RecipeError``, one line for each problem.
    """
    file = locate(str(path))
    return check(anchor(resolve(Path(file), overrides), real(file).parent), file)
