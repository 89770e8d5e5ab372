"""Recipes: YAML files that say what to train and how. ``load`` is the only door for the rest of the project.

The names below are imported when they are first used: a command that only needs ``recipe.errors`` does not pay for pydantic.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entropostat.recipe.errors import Problem, RecipeError
    from entropostat.recipe.recipe import Recipe
    from entropostat.recipe.terms import Term

__all__ = ["Problem", "Recipe", "RecipeError", "Term", "load"]
HOMES = {"Problem": "errors", "Recipe": "recipe", "RecipeError": "errors", "Term": "terms"}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)


def load(path: str | PathLike[str], overrides: Iterable[str] = ()) -> Recipe:
    """The recipe at ``path`` (a file, or ``entropostat:base/grpo.yaml`` for one of the package), with ``key=value``
    overrides applied. Raises ``RecipeError``, one line for each problem.
    """
    from entropostat.recipe.check import check
    from entropostat.recipe.errors import real
    from entropostat.recipe.extends import locate, resolve
    from entropostat.recipe.relative_paths import anchored

    file = locate(str(path))
    return check(anchored(resolve(Path(file), overrides), real(file).parent), file)
