"""What a number in a recipe may be: a range for every field, and one that holds for all numbers.

A field of ours says its range where it is declared (``Field(ge=...)``, ``option(low=...)``), one of TRL's in
``trainer_ranges``. What they leave open is closed here: no infinity, nothing that float32 cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from entropostat.rl.registry import LARGEST, SMALLEST

WHOLE = 2**31 - 1
"""Bound of whole numbers: what a C int holds, in which sizes and counts end up."""


@dataclass(frozen=True)
class Range:
    """``low`` and ``high`` are inclusive, ``above`` and ``below`` exclusive."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    special: tuple[int, ...] = ()
    """Values outside that mean something of their own, such as -1: off."""
    whole_from_1: bool = False
    """Below 1 it is a share, from there on a count."""

    @classmethod
    def of(cls, limits: Mapping[str, float]) -> Range:
        """As ``option`` declares them."""
        return cls(limits.get("low"), limits.get("high"), limits.get("above"), limits.get("below"))

    def holds(self, value: float) -> bool:
        if value in self.special:
            return True
        if self.whole_from_1 and value > 1 and value % 1:  # an infinity leaves nan
            return False
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def closed(self, whole: bool) -> Range:
        """The same with both ends: those of all numbers where it has none of its own."""
        size = WHOLE if whole else LARGEST
        bounds = self
        if self.low is None and self.above is None:
            bounds = replace(bounds, low=-size)
        if self.high is None and self.below is None:
            bounds = replace(bounds, high=size)
        if self.above == 0 and not whole:
            bounds = replace(bounds, above=None, low=SMALLEST)  # what is below it, float32 divides by as by 0
        ends: dict[str, Any] = {key: getattr(bounds, key) for key in ("low", "high", "above", "below")}
        kind = int if whole else float  # else equal ranges would look different in the schema, by who came first
        ends = {key: kind(end) for key, end in ends.items() if end is not None}
        return replace(bounds, **ends)

    def __str__(self) -> str:
        ends = {"at least": self.low, "above": self.above, "at most": self.high, "below": self.below}
        said = " and ".join(f"{words} {_number(end)}" for words, end in ends.items() if end is not None)
        said += ", whole from 1 on" if self.whole_from_1 else ""
        return "".join(f"{value} or " for value in self.special) + said


ANY = Range(low=-LARGEST, high=LARGEST)
"""Of numbers that no field declares: in the free mappings that a library takes."""


def _number(value: float) -> str:
    return f"{value:.12g}"


@cache
def of_field(form: type[BaseModel], name: str) -> Range | None:
    """The closed range of a field's numbers, also of those in its lists; None for a field without numbers of its own."""
    info = form.model_fields.get(name)
    if info is None:
        return None
    readings = list(_numbers(info.annotation, info.metadata))
    if not readings:
        return None
    whole = all(kind is int for kind, _ in readings)
    return max((_declared(notes) for _, notes in readings), key=lambda declared: declared != Range()).closed(whole)


def _numbers(hint: Any, notes: list[Any]) -> Iterator[tuple[type, list[Any]]]:
    """(int or float, what is annotated to it) for each number that a type may be; not inside of blocks."""
    if hint in (int, float):
        yield hint, notes
        return
    if hasattr(hint, "__metadata__"):
        inner = [
            note for item in hint.__metadata__ for note in (item.metadata if isinstance(item, FieldInfo) else [item])
        ]
        yield from _numbers(hint.__origin__, [*notes, *inner])
    elif get_origin(hint) not in (Literal, Mapping):
        for part in get_args(hint):
            yield from _numbers(part, notes)


def _declared(notes: list[Any]) -> Range:
    ends: dict[str, Any] = {}
    for note in notes:
        if isinstance(note, Range):
            return note
        for kind, key, end in ((Ge, "low", "ge"), (Le, "high", "le"), (Gt, "above", "gt"), (Lt, "below", "lt")):
            if isinstance(note, kind):
                ends[key] = getattr(note, end)
    return Range(**ends)


def misplaced(
    value: Any, allowed: Range | None, below: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Range]]:
    """(place inside of the field, range) for each number that is out of it. What is inside of a block, the block judges."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not (allowed or ANY).holds(value):
            yield below, allowed or ANY
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from misplaced(item, allowed, (*below, str(index)))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from misplaced(item, None, (*below, str(key)))


def in_schema(allowed: Range, item: dict[str, Any]) -> None:
    """Write ``allowed`` into the JSON Schema of its field, wherever that is a number."""
    if item.get("type") in ("number", "integer"):
        ends = {"minimum": allowed.low, "maximum": allowed.high}
        ends |= {"exclusiveMinimum": allowed.above, "exclusiveMaximum": allowed.below}
        for key, end in ends.items():
            item.pop(key, None)
            item |= {} if end is None else {key: end}
        if allowed.special:
            item["minimum"] = min(*allowed.special, item["minimum"])
    inside = [item[key] for key in ("items", "additionalProperties") if isinstance(item.get(key), dict)]
    for part in (*item.get("anyOf", ()), *item.get("oneOf", ()), *inside):
        in_schema(allowed, part)
