"""Pydantic models made from the catalog: one for each term, one for each trainer kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, Discriminator, Field, Tag, create_model

from entropostat.catalog import FieldInfo, TermInfo, load
from entropostat.recipe.block import Block

SIMPLE: dict[str, Any] = {"float": float, "int": int, "bool": bool, "str": str, "null": None, "any": Any}
BOUNDS = {"low": "ge", "high": "le", "above": "gt", "below": "lt"}
NUMBER, CONTROLLER = "number", "controller"
"""Tags of the two readings of a controlled field; they appear in pydantic's error paths."""

NAMED = ("advantages", "weights", "loss", "penalties", "scalars", "verifiers")
"""Slots whose terms take ``name:``. A source is named by its key in ``data.sources``."""
NAME = Field(
    None, pattern=r"^[A-Za-z0-9_-]+$", description="address and metric prefix; needed where two terms share a kind"
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
    keys: dict[str, Any] = {f.name: _key(f) for f in load().trainer[kind] if f.name not in refused}
    kinds = tuple(load().trainer)
    keys["kind"] = (Literal[kinds], Field("grpo", description="which trainer"))
    return create_model(
        f"trainer.{kind}", __base__=Block, __doc__="Fields of TRL's config, by their own names.", **keys
    )


def _key(info: FieldInfo) -> tuple[Any, Any]:
    """Type and default of one key."""
    kinds = info.type.split("|")
    bounds = {BOUNDS[key]: limit for key, limit in info.limits.items()}
    readings = [_reading(kind, info.choices, bounds) for kind in kinds]
    annotation: Any = Union[tuple(readings)]  # noqa: UP007  (made at run time)
    if not info.fixed:
        plain: Any = Annotated[annotation, Tag(NUMBER)]
        control: Any = Annotated[controller_form(), Tag(CONTROLLER)]
        annotation = Annotated[Union[plain, control], Discriminator(_is_controller)]  # noqa: UP007
    default = ... if info.required else info.default
    return annotation, Field(default, description=info.doc or None)


def _reading(kind: str, choices: tuple[str, ...] | None, bounds: dict[str, Any]) -> Any:
    if kind == "str" and choices:
        return Literal[choices]
    if kind in ("float", "int") and bounds:
        return Annotated[SIMPLE[kind], Field(**bounds)]
    if kind.startswith("list["):
        return list[_reading(kind[5:-1], None, {})]  # type: ignore[misc]
    return dict[str, Any] if kind == "dict" else SIMPLE[kind]


def _is_controller(value: Any) -> str:
    return CONTROLLER if isinstance(value, (Mapping, BaseModel)) else NUMBER
