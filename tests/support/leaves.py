"""Every key that a recipe may have, each in the smallest recipe in which it can be set: read from the schema's own models."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from entropostat.catalog import TermInfo, load
from entropostat.recipe.blocks import BLOCKS, BuildReward
from entropostat.recipe.check import check
from entropostat.recipe.errors import Origin
from entropostat.recipe.explain import known_keys
from entropostat.recipe.forms import term_form, trainer_form
from entropostat.recipe.owned import NOT_IN_TRAINER
from entropostat.recipe.ranges import Range, of_field
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.source import Value

Place = tuple[str | int, ...]
PLAIN: dict[str, Any] = {
    "model": {"build": {}},
    "data": {"sources": {"a": {"chain": {}}}},
    "reward": [{"chain": {}}],
    "objective": {"loss": {"trl": {}}},
}
GIVEN: dict[str, Any] = {
    "target": 1.0,
    "signal": "entropy",
    "points": [[0, 0.1], [9, 0.2]],
    "value": 0.1,
    "samples": 4,
    "anchor": 0.5,
    "history": 0.5,
    "knob": "penalties.entropy_bonus.coef",
    "key": "rest",
    "task": "chain_sum",
    "path": "x",
    "function": "accuracy_reward",
    "name": "package",
    "file": "weights.gguf",
    "source": "a",
    "steps": 4,
}
"""What has no default."""
BESIDE: dict[str, dict[str, Any]] = {"follow": {"coef": {"autopilot": {"target": 1.0}}}}


class Leaf(NamedTuple):
    place: Place
    recipe: dict[str, Any]
    """It holds everything on the way to the place."""
    form: type[BaseModel]

    @property
    def key(self) -> str:
        """As a message calls it: terms by their name."""
        names: list[str] = []
        for step in self.place:
            if isinstance(step, int) and names[-1] != "curriculum":
                continue
            names.append(str(step))
        return ".".join(names)

    @property
    def range(self) -> Range | None:
        return of_field(self.form, str(self.place[-1]))

    def loaded(self, value: Any) -> Recipe:
        content = copy.deepcopy(self.recipe)
        holder: Any = content
        for step in self.place[:-1]:
            holder = holder[step]
        holder[self.place[-1]] = value
        return check(written(content), Path("x.yaml"))


def written(plain: Any) -> Value:
    """As if it had been read from a file."""
    origin = Origin("x.yaml", 1)
    if isinstance(plain, dict):
        return Value({key: written(item) for key, item in plain.items()}, origin)
    if isinstance(plain, list):
        return Value([written(item) for item in plain], origin)
    return Value(plain, origin)


def leaves() -> Iterator[Leaf]:
    for name, form in BLOCKS.items():
        yield from _of_form(form, (name,), {**copy.deepcopy(PLAIN), name: PLAIN.get(name, {})})
    for kind in load().trainer:
        recipe = {**PLAIN, "trainer": {"kind": kind}}
        if kind == "ppo":
            recipe["objective"] = {"advantages": [{"gae": {}}], "loss": {"trl": {}}}
        yield from _of_form(trainer_form(kind, NOT_IN_TRAINER), ("trainer",), recipe)
    for slot, terms in load().terms.items():
        for name, info in terms.items():
            place, recipe = _home(slot, name, info)
            yield from _of_form(term_form(info), place, recipe)
    recipe = {**PLAIN, "reward": [{"model": {"build": {}}}, {"chain": {"weight": 0}}]}
    yield from _of_form(BuildReward, ("reward", 0, "model", "build"), recipe)


def _home(slot: str, name: str, info: TermInfo) -> tuple[Place, dict[str, Any]]:
    """Where a term stands, and a recipe with it."""
    options = {field.name: GIVEN[field.name] for field in info.fields if field.required}
    term = {name: options}
    if slot == "sources":
        return ("data", "sources", "a", name), {**PLAIN, "data": {"sources": {"a": term}}}
    if slot == "verifiers":
        return ("reward", 0, name), {**PLAIN, "reward": [term, {"exact_match": {"name": "judge"}}]}
    if slot == "controllers":
        penalties = [{"entropy_bonus": {"coef": term}}]
        return ("objective", "penalties", 0, "entropy_bonus", "coef", name), {
            **PLAIN,
            "objective": {"penalties": penalties},
        }
    if slot == "loss":
        return ("objective", "loss", name), {**PLAIN, "objective": {"loss": term}}
    first = [{"grpo": {}}] if slot == "advantages" and info.reshapes else []
    return ("objective", slot, len(first), name), {**PLAIN, "objective": {slot: [*first, term]}}


def _of_form(form: type[BaseModel], place: Place, recipe: dict[str, Any]) -> Iterator[Leaf]:
    for key in form.model_fields:
        if place == () or key == "kind":
            continue
        inner = known_keys(form, (key,)) and _block(form, key)
        if not inner:
            yield Leaf((*place, key), recipe, form)
            continue
        needed = {name: GIVEN[name] for name, info in inner.model_fields.items() if info.is_required()}
        listed = key == "curriculum"
        changed = copy.deepcopy(recipe)
        holder: Any = changed
        for step in place:
            holder = holder[step]
        if place == ("model",) and key == "package":
            del holder["build"]
        holder[key] = [needed] if listed else needed
        yield from _of_form(inner, (*place, key, *([0] if listed else [])), changed)


def _block(form: type[BaseModel], key: str) -> type[BaseModel] | None:
    from entropostat.recipe.explain import _owner

    owner = _owner(form, (key,))
    return None if owner is None or owner.__name__ == "controller" else owner
