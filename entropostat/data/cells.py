"""A cell of a row, by the name of its column.

A dotted name reaches into mappings, lists (by a number from 0) and texts that hold one of these as JSON:
``reward_model.ground_truth``, ``conversations.0.value``. A column whose own name has the dots comes first.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from entropostat.data.example import DataError
from entropostat.data.json_text import Written, held
from entropostat.visible import shorten, visible

MISSING = object()
SHOWN, COMPARED, NAME = 24, 1000, 64
"""Columns that a message lists, and that it looks for a spelling in; characters of a name that is compared."""
USUAL = (
    ("prompt", "question", "problem", "instruction", "query", "input", "messages", "conversations", "chosen"),
    ("answer", "ground_truth", "reward_model.ground_truth", "final_answer", "solution", "target", "output", "label"),
)
"""What sets call the column of their prompts, and that of their answers."""


def cell(row: Mapping[str, Any], name: str, where: str) -> Any:
    """Raises DataError, which lists the columns that are there, for one that is not."""
    found = _find(row, name)
    if found is MISSING:
        raise DataError(f"{where}: {_missing(row, name)}")
    return found


def _find(inside: Any, name: str) -> Any:
    inside = held(inside) if isinstance(inside, str) else inside
    if isinstance(inside, Mapping):
        if name in inside:
            return inside[name]
        for head, rest in _cuts(name):
            if head in inside and (found := _find(inside[head], rest)) is not MISSING:
                return found
    elif isinstance(inside, list):
        head, dot, rest = name.partition(".")
        if head.isdecimal() and head.isascii() and len(head) < 7 and int(head) < len(inside):
            return _find(inside[int(head)], rest) if dot else inside[int(head)]
    return MISSING


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """The longest head first."""
    at = name.rfind(".")
    while at > 0:
        yield name[:at], name[at + 1 :]
        at = name.rfind(".", 0, at)


def _missing(row: Mapping[str, Any], name: str) -> str:
    if empty := next((head for head, _ in _cuts(name) if _find(row, head) is None), None):
        return f"{visible(empty)} is null, so that it has no {visible(name)!r}; leave such rows out"
    there = list(islice(named(row), COMPARED))
    close = difflib.get_close_matches(name[:NAME], [one for one in there if len(one) <= NAME], 1)
    alike = [other for others in USUAL if name in others for other in others]
    ending = [other for other in there if other.endswith(f".{name}")]
    hint = next((other for other in (*close, *alike, *ending) if other in there), None)
    hinted = f", did you mean {visible(hint)!r}?" if hint else ""
    return f"unknown column {visible(name)!r}{hinted}; there are: {listed(there)}"


def named(row: Mapping[str, Any]) -> Iterator[str]:
    """The columns, and what is in those that hold mappings."""
    for name, value in row.items():
        yield str(name)
        value = held(value) if isinstance(value, str) else value
        if isinstance(value, Mapping):
            yield from (f"{name}.{below}" for below in value)


def listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(visible(name)[:40] for name in names[:SHOWN]) + more if names else "none"


def plain(value: Any) -> str | None:
    """Text, a number or a boolean as the row has it; None for anything else. Raises ValueError for no finite number."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise ValueError(f"{value} is no number")
    if isinstance(value, Written):
        return value.text
    return str(value) if isinstance(value, int | float | Decimal) else None


def check_text(text: str, what: str, where: str) -> str:
    """The same text. Raises DataError for what no file and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: {what} holds half of a surrogate pair, which is no text; correct it") from None
    return text


def shown(value: Any) -> str:
    """A value in a message."""
    return visible(shorten(value))
