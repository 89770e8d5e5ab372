"""Values that come out of a parser, as what they have to be or not at all. Every number and name of a run passes here."""

from __future__ import annotations

import math
from typing import Any

from entropostat.visible import visible

LARGEST = 3e38
"""No metric is larger: it comes out of a float32. Sums and squares of such numbers are still finite."""
LAST_STEP = 2**32 - 1
NAME = 300
"""Characters of a metric's key."""
DEPTH, VALUES = 40, 50_000
"""Of one JSON or YAML value: how deep, and how many values in all."""


def is_number(value: Any) -> bool:
    """A finite one. True and false, which Python counts as 1 and 0, are none."""
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST


def whole(value: Any, least: int = 0, most: int = LAST_STEP) -> int | None:
    """3 for 3 and 3.0; None for what is no such number."""
    return int(value) if is_number(value) and least <= value <= most and value == int(value) else None


def name(value: Any) -> str | None:
    """A key or a title, safe to print."""
    return visible(value) if isinstance(value, str) and 0 < len(value) <= NAME else None


def text(value: Any) -> str:
    """A string without halves of surrogate pairs, which cannot be written."""
    return str(value).encode("utf-8", "replace").decode()


def plain(value: Any) -> Any:
    """Dicts with text as keys, lists, text and numbers, whatever a YAML or JSON parser made; NaN and infinity are None.

    Raises ValueError where it is nested too deep or holds too many values, as an alias that contains itself does.
    """
    left = VALUES

    def made(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > DEPTH or left < 0:
            raise ValueError("nested too deep" if depth > DEPTH else f"more than {VALUES} values")
        if isinstance(value, dict):
            return {text(key): made(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple | set):
            return [made(inner, depth + 1) for inner in value]
        if isinstance(value, bool | None):
            return value
        if isinstance(value, int | float):
            return value if is_number(value) else None
        return text(value)

    return made(value, 0)


def shown(value: Any) -> str:
    """What was found in place of a number, in few words."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, float) and not math.isfinite(value):
        return "no finite number"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**20:
        return f"a number beyond {LARGEST:g}" if abs(value) > LARGEST else f"{float(value):g}"
    said = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return said if len(said) <= 40 else f"{said[:37]}..."
