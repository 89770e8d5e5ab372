"""The objective as Python gives it: a recipe's path, the mapping that stands in a recipe, or the terms already named.

    "my-recipe.yaml"                                                      the objective of that recipe
    {"loss": "trl", "penalties": [{"kl_ref": {"coef": 1e-3}}]}            as in YAML; a term without options is its name
    {"loss": ("trl", "trl", {}), "penalties": [("far", "kl_ref", {})]}    (name, kind, options)

A slot that is left out is empty: without `advantages` they are TRL's own. The loss is always named. Options are checked as a
recipe's are; a term that user code has registered is checked by its own registration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from entropostat.catalog import load as load_catalog
from entropostat.recipe import load
from entropostat.recipe.errors import Origin, Problem, nearest, show
from entropostat.recipe.source import Value
from entropostat.recipe.terms import Term, one_term
from entropostat.rl.info import SLOTS
from entropostat.rl.registry import REGISTRIES

if TYPE_CHECKING:
    from entropostat.rl.control import Control

PYTHON = Origin("objective")
FORMS = 'give a mapping such as {"loss": "trl", "penalties": [{"kl_ref": {"coef": 1e-3}}]}, or the path of a recipe'


def as_control(given: Any) -> Control:
    """Raises ValueError, or RecipeError for a file, with one line for each problem: the key, the value and the fix."""
    from entropostat.rl.control import Control  # torch comes with it
    from entropostat.rl.objective import Objective

    if isinstance(given, Control):
        return given
    if isinstance(given, Objective):
        return Control(given)
    if isinstance(given, str | PathLike):
        return Control.build(load(given).objective)
    spec = spec_of(given)
    try:
        return Control.build(spec)
    except KeyError as error:  # whose text Python would put into quotation marks
        raise ValueError(f"objective: {error.args[0]}") from error


def spec_of(given: Any) -> dict[str, Any]:
    """Slot -> its terms, of a mapping as it stands in a recipe; raises ValueError with one line for each problem. No torch."""
    if not isinstance(given, Mapping):
        raise ValueError(f"objective: {show(given)} is no objective; {FORMS}")  # noqa: TRY004  (as every wrong objective)
    problems: list[Problem] = []
    spec = _spec(given, problems)
    if problems:
        raise ValueError("\n".join(f"{problem.key}: {problem.message}" for problem in problems))
    return spec


def _spec(given: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    for slot in given:
        if slot not in SLOTS:
            problems.append(Problem(PYTHON, f"objective.{slot}", f"there is no such slot; {nearest(str(slot), SLOTS)}"))
    if given.get("loss") is None and not problems:
        problems.append(
            Problem(PYTHON, "objective.loss", "missing; name one, such as 'trl' or {'trl': {'type': 'grpo'}}")
        )
    spec: dict[str, Any] = {}
    for slot in (slot for slot in SLOTS if given.get(slot) is not None):
        terms = list(_terms(slot, [given[slot]] if slot == "loss" else given[slot], problems))
        spec[slot] = terms if slot != "loss" else next(iter(terms), None)
    return spec


def _terms(slot: str, items: Any, problems: list[Problem]) -> Iterator[Term]:
    key = ("objective", slot)
    if not isinstance(items, list | tuple) or _is_named(items):
        message = f"must be a list of terms, such as [{show(items)}], not {show(items)}"
        problems.append(Problem(PYTHON, ".".join(key), message))
        return
    for item in items:
        if isinstance(item, str):
            item = {item: {}}
        elif _is_named(item):
            name, kind, options = item
            item = {kind: options if name == kind else {**options, "name": name}}
        (kind, *_) = item if isinstance(item, Mapping) and item else (None,)
        if kind not in load_catalog().terms[slot] and kind in REGISTRIES[slot].names():
            options = dict(item[kind] or {})
            yield Term(options.pop("name", kind), kind, options)
        elif (term := one_term(_value(item), slot, key, problems)) is not None:
            yield term


def _is_named(item: Any) -> bool:
    """(name, kind, options)"""
    return isinstance(item, tuple) and len(item) == 3 and isinstance(item[2], Mapping)


def _value(plain: Any) -> Value:
    """As if it had been read from a file."""
    if isinstance(plain, Mapping):
        return Value({str(key): _value(item) for key, item in plain.items()}, PYTHON)
    if isinstance(plain, list | tuple):
        return Value([_value(item) for item in plain], PYTHON)
    return Value(plain, PYTHON)
