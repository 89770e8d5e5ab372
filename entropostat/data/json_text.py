"""JSON of others, read strictly: a key that stands twice is refused, and a number keeps the digits that it was written with."""

from __future__ import annotations

import json
from typing import Any

DEEP = "nested too deep; a row holds texts, and messages of texts"
LONG = "a number of more digits than Python reads; write it as text"


class NoJson(ValueError):
    """Why a text is no JSON that we read, with the fix. ``at``: the character, where there is one to name."""

    def __init__(self, reason: str, at: int | None = None) -> None:
        super().__init__(reason)
        self.at = at


class Written(float):
    """A number with a point or an exponent, as it stands: 3.10 is not 3.1 to who compares texts."""

    def __init__(self, text: str) -> None:
        self.text = text


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NoJson(f"the key {twice!r:.60} twice; keep one of them")
    return made


DECODER = json.JSONDecoder(parse_float=Written, object_pairs_hook=_distinct)


def loads(text: str) -> Any:
    """Raises NoJson."""
    try:
        return DECODER.decode(text)
    except ValueError as error:
        raise told(error) from error
    except RecursionError as error:
        raise NoJson(DEEP) from error


def told(error: ValueError) -> NoJson:
    """What one of Python's own errors says, in our words."""
    if isinstance(error, NoJson):
        return error
    if isinstance(error, json.JSONDecodeError):
        return NoJson(f"bad JSON ({error.msg})", error.colno)
    return NoJson(LONG)


def held(text: str) -> Any:
    """What a text holds as JSON if that is an object or a list; else None."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        found = loads(text)
    except NoJson:
        return None
    return found
