"""The quickstart's recipe with changes, and what the rules of one topic say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entropostat.recipe import Recipe, load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.lints import lints


def recipe(*overrides: str) -> Recipe:
    return load(RECIPES / "quickstart" / "plain.yaml", overrides)


def linted(rules: tuple[Callable[..., Any], ...], *overrides: str) -> set[tuple[str, str]]:
    loaded = recipe(*overrides)
    return {(lint.level, lint.key) for lint in lints(loaded, arithmetic(loaded), rules)}
