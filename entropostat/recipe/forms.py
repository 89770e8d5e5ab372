"""Pydantic models made from the catalog: one for each term, one for each trainer kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, Discriminator, Field, Tag, create_model

from entropostat.catalog import FieldInfo, TermInfo, load
from entropostat.recipe.block import Block
from entropostat.recipe.ranges import Range
from entropostat.recipe.trainer_ranges import CHOICES, IMPOSSIBLE, NEVER_NULL, RANGES
from entropostat.rl.info import SLOTS

SIMPLE: dict[str, Any] = {"float": float, "int": int, "bool": bool, "str": str, "null": None, "any": Any}
NUMBER, CONTROLLER = "number", "controller"
"""Tags of the two readings of a controlled field; they appear in pydantic's error paths."""

NAMED = (*SLOTS, "verifiers")
"""Slots whose terms take ``name:``. A source is named by its key in ``data.sources``."""
NAME = Field(
    None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="address and metric prefix; needed where two terms share a kind"
)


def term_form(info: TermInfo) -> type[BaseModel]:
    """The keys of one term."""
    return _term_form(info.slot, info.name)


@cache
def _term_form(slot: str, name: str) -> type[BaseModel]:
    info = load().terms[slot][name]
    keys: dict[str, Any] = {f.name: _key(f) for f in info.fields}
    if slot in NAMED:
        keys["name"] = (str | None, NAME)
    return create_model(f"{slot}.{name}", __base__=Block, __doc__=info.summary, **keys)


@cache
def controller_form() -> type[BaseModel]:
    """A mapping that names one controller. Which one is given is checked apart, for a better message."""
    keys: dict[str, Any] = {
        name: (_term_form("controllers", name) | None, Field(None, description=info.summary))
        for name, info in load().terms["controllers"].items()
    }
    return create_model("controller", __base__=Block, __doc__="Names one controller.", **keys)


@cache
def trainer_form(kind: str, refused: frozenset[str]) -> type[BaseModel]:
    """TRL's own fields under their own names, without those that another block owns."""
    keys: dict[str, Any] = {
        f.name: _key(_narrowed(f), RANGES.get(f.name)) for f in load().trainer[kind] if f.name not in refused
    }
    kinds = tuple(load().trainer)
    keys["kind"] = (Literal[kinds], Field("grpo", description="which trainer"))
    return create_model(
        f"trainer.{kind}", __base__=Block, __doc__="Fields of TRL's config, by their own names.", **keys
    )


def _narrowed(info: FieldInfo) -> FieldInfo:
    """A field of TRL's with what its config does not say of it."""
    choices = CHOICES.get(info.name, info.choices)
    if choices:
        choices = tuple(choice for choice in choices if choice not in IMPOSSIBLE.get(info.name, ()))
    kinds = [kind for kind in info.type.split("|") if kind != "null" or info.name not in NEVER_NULL]
    return replace(info, choices=choices, type="|".join(kinds))


def _key(info: FieldInfo, allowed: Range | None = None) -> tuple[Any, Any]:
    """Type and default of one key."""
    readings = [_reading(kind, info.choices, allowed or Range.of(info.limits)) for kind in info.type.split("|")]
    annotation: Any = Union[tuple(readings)]  # noqa: UP007  (made at run time)
    if not info.fixed:
        plain: Any = Annotated[annotation, Tag(NUMBER)]
        control: Any = Annotated[controller_form(), Tag(CONTROLLER)]
        annotation = Annotated[Union[plain, control], Discriminator(_is_controller)]  # noqa: UP007
    default = ... if info.required else info.default
    return annotation, Field(default, description=info.doc or None)


def _reading(kind: str, choices: tuple[str, ...] | None, allowed: Range) -> Any:
    if kind == "str" and choices:
        return Literal[choices]
    if kind in ("float", "int"):
        return Annotated[SIMPLE[kind], allowed]
    if kind == "dict[float]":
        return dict[str, _reading("float", None, allowed)]  # type: ignore[misc]
    if kind.startswith("list["):
        return list[_reading(kind[5:-1], choices, allowed)]  # type: ignore[misc]
    return dict[str, Any] if kind == "dict" else SIMPLE[kind]


def _is_controller(value: Any) -> str:
    return CONTROLLER if isinstance(value, (Mapping, BaseModel)) else NUMBER
