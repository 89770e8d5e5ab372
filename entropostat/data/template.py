"""A prompt written around columns: ``"Solve: {question}\\nGive {n} lines."`` A brace of its own is doubled: ``\\boxed{{}}``.

What stands in braces is the name of a column and nothing else: Python's formatting, which reaches into objects, is not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from entropostat.data.cells import plain, shown
from entropostat.data.example import DataError

PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
DOUBLED = "write {{ and }} for braces of the text, as in \\boxed{{}}"


@lru_cache(maxsize=256)
def parsed(template: str) -> tuple[tuple[str, bool], ...]:
    """Pieces of it: (text, False), or (name of a column, True). Raises DataError, which names the key."""
    pieces: list[tuple[str, bool]] = []
    at = 0
    for found in PIECE.finditer(template):
        pieces.append((template[at : found.start()], False))
        at = found.end()
        if found[0] in ("{{", "}}"):
            pieces.append((found[0][0], False))
        elif found[1] is None:
            raise DataError(f"template: a single {found[0]!r} at character {found.start() + 1}; {DOUBLED}")
        else:
            pieces.append((_name(found[1]), True))
    pieces.append((template[at:], False))
    if not any(column for _, column in pieces):
        raise DataError(
            f"template: {shown(template)} names no column, so that all prompts are one; write one as {{question}}"
        )
    return tuple(piece for piece in pieces if piece[0])


def columns(template: str) -> list[str]:
    return [piece for piece, column in parsed(template) if column]


def filled(template: str, value: Callable[[str], Any], where: str) -> str:
    """``value`` gives the cell of a column."""
    return "".join(_text(value(piece), piece, where) if column else piece for piece, column in parsed(template))


def _name(inside: str) -> str:
    if not inside.strip():
        raise DataError(f"template: {{{inside}}} names no column; {DOUBLED}")
    if odd := re.search(r"[!:\[\]]|^\s|\s$", inside):
        raise DataError(
            f"template: {shown(inside)} has {odd[0]!r}, and braces take the name of a column, such as {{question}} or "
            f"{{choices.0}}; {DOUBLED}"
        )
    return inside


def _text(value: Any, name: str, where: str) -> str:
    try:
        text = plain(value)
        if text is None and isinstance(value, list | dict):
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError):
        text = None
    if text is None:
        raise DataError(f"{where}: {name} is {shown(value)}, which is no text for the template; leave such rows out")
    return text
