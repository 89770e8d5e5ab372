"""Pydantic's errors, said in the recipe's own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from entropostat.catalog import load
from entropostat.recipe.errors import TOLD, Problem, nearest, show
from entropostat.recipe.foreign_keys import foreign
from entropostat.recipe.owned import OWNED, REFUSED
from entropostat.recipe.ranges import Range, of_field
from entropostat.recipe.source import Value

KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
}
OUTSIDE = ("range", "greater_than_equal", "less_than_equal", "greater_than", "less_than", "finite_number")
TERMS = ("objective", "reward")
"""Blocks of terms, each of which has keys of its own: what another program calls one of them says nothing there."""
Path = tuple[str, ...]
Unknown = Callable[[Path, str, Value, Sequence[str]], str]
"""(path of the key, key, its value, keys known there) -> message."""


def unknown_key(path: Path, key: str, value: Value, known: Sequence[str]) -> str:
    hint = nearest(key, known)
    if path[0] not in TERMS:
        near = "did you mean" in hint
        hint = foreign(key) or (hint if near else elsewhere(key)) or hint
    return f"unknown key {show(key)} (value {show(value.plain, key)}); {hint}"


def elsewhere(key: str) -> str | None:
    """Where a field of TRL's config is written, whatever block it was looked for in."""
    if key in OWNED:
        return f"use {OWNED[key]}"
    fields = {f.name for kind in load().trainer.values() for f in kind} - REFUSED.keys()
    return f"use trainer.{key}" if key in fields else None


def validate(
    form: type[BaseModel], value: Value, path: Path, problems: list[Problem], unknown: Unknown = unknown_key
) -> Any:
    """``value`` as an instance of ``form``, or None after adding what is wrong with it to ``problems``."""
    try:
        return form.model_validate(value.plain)
    except ValidationError as error:
        places: dict[Path, list[Mapping[str, Any]]] = {}
        for detail in error.errors(include_url=False, include_input=False):
            place = _place(value, detail["loc"], detail["type"]) + detail.get("ctx", {}).get("below", ())
            places.setdefault(place, []).append({**detail})
        for number, (below, details) in enumerate(places.items()):
            leaf = at(value, below)
            # Beyond what is told a message is not worth its search for a near name.
            told = number < TOLD
            message = _message(form, value, (*path, *below), below, details, unknown) if told else "is wrong too"
            problems.append(Problem(leaf.origin, ".".join((*path, *below)), message))
        return None


def at(value: Value, path: Path) -> Value:
    """The value at ``path``, or the deepest one on the way to it."""
    for key in path:
        content = value.content
        if isinstance(content, dict) and key in content:
            value = content[key]
        elif isinstance(content, list) and key.isdigit() and int(key) < len(content):
            value = content[int(key)]
        else:
            break
    return value


def _place(value: Value, loc: tuple[int | str, ...], kind: str) -> Path:
    """Pydantic's location without the names of the readings of a union, which are no keys of the recipe."""
    path: list[str] = []
    for index, step in enumerate(loc):
        content = value.content
        if isinstance(content, dict) and step in content:
            value = content[str(step)]
        elif isinstance(content, list) and isinstance(step, int) and step < len(content):
            value = content[step]
        elif not (kind == "missing" and index == len(loc) - 1):
            continue
        path.append(str(step))
    return tuple(path)


def _message(
    form: type[BaseModel],
    root: Value,
    path: Path,
    below: Path,
    details: list[Mapping[str, Any]],
    unknown: Unknown,
) -> str:
    value = at(root, below)
    types = {detail["type"]: detail for detail in details}
    shown = show(value.plain)
    if "extra_forbidden" in types:
        return unknown(path, below[-1], value, known_keys(form, below[:-1]))
    if "missing" in types:
        return f"missing; {_meaning(form, below)}"
    if "string_pattern_mismatch" in types:
        return f"must look like {types['string_pattern_mismatch']['ctx']['pattern']}, not {shown}"
    if "range" in types:
        return f"must be {types['range']['ctx']['range']}, not {shown}"
    if not types.keys().isdisjoint(OUTSIDE) and (allowed := _range(form, below)) is not None:
        return f"must be {allowed}, not {shown}"
    choices = [c for d in details if d["type"] == "literal_error" for c in _expected(d)]
    if "float_type" in types and type(value.content) is int and (allowed := _range(form, below)) is not None:
        return f"must be {allowed}, not {shown}"  # too large for a float
    kinds = list(dict.fromkeys(KINDS[d["type"]] for d in details if d["type"] in KINDS))
    if choices and isinstance(value.content, str):
        hint = nearest(value.content, choices)
        wanted = " or ".join([kind for kind in kinds if kind != "null"] + [f"one of {_listed(choices)}"])
        return f"must be {wanted}, not {shown}" + (f"; {hint}" if "did you mean" in hint else "")
    if choices:
        kinds.append(f"one of {_listed(choices)}")
    if kinds == ["a number"] and isinstance(value.content, dict):
        return f"is fixed for the whole run: give a number, not a controller ({shown})"
    if kinds == ["a number"] and any("number" in detail["loc"] for detail in details):
        kinds.append("a controller")
    if kinds:
        return f"must be {' or '.join(kinds)}, not {shown}"
    first = details[0]
    return f"{_sentence(str(first['msg']))}, not {shown}"


def _listed(choices: Sequence[str]) -> str:
    return ", ".join(choice or "''" for choice in choices)


def _sentence(text: str) -> str:
    text = text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _expected(detail: Mapping[str, Any]) -> list[str]:
    """The choices in pydantic's "'a', 'b' or 'c'"."""
    words = str(detail["ctx"]["expected"]).replace(" or ", ", ").split(", ")
    return [word.strip("'") for word in words]


def _meaning(form: type[BaseModel], below: Path) -> str:
    """What a missing key means."""
    owner = _owner(form, below[:-1])
    info = owner.model_fields.get(below[-1]) if owner else None
    return f"it says: {info.description}" if info is not None and info.description else "it has no default"


def _range(form: type[BaseModel], below: Path) -> Range | None:
    """What the numbers at ``below`` may be; those of a list have the range of their field."""
    while below and below[-1].isdigit():
        below = below[:-1]
    owner = _owner(form, below[:-1])
    return of_field(owner, below[-1]) if owner is not None and below else None


def known_keys(form: type[BaseModel], path: Path) -> list[str]:
    owner = _owner(form, path)
    return list(owner.model_fields) if owner else []


def _owner(form: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that holds the keys at ``path`` inside ``form``."""
    owner: type[BaseModel] | None = form
    for key in path:
        if owner is None or key.isdigit():
            continue
        info = owner.model_fields.get(key)
        owner = _model_in(info.annotation) if info else None
    return owner


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in get_args(annotation) if (model := _model_in(arg)) is not None), None)
