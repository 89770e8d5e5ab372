"""run.json: what a run says about itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from entropostat.readers import values
from entropostat.readers.damage import Damage
from entropostat.readers.values import shown, whole
from entropostat.regular import content
from entropostat.visible import visible

LIMIT = 1 << 20


def _stages(given: Any) -> dict[str, int] | None:
    """'0/easy' -> the step at which the stage begins."""
    if not isinstance(given, dict):
        return None
    stages = {values.name(key): whole(step) for key, step in given.items()}
    return None if None in stages or None in stages.values() else stages  # type: ignore[return-value]


SHAPES: dict[str, Callable[[Any], Any]] = {
    "name": values.name,
    "seed": lambda given: whole(given, -values.LAST_STEP),
    "stages": _stages,
    "vocabulary": lambda given: whole(given, 2),
    "steps": whole,
    "versions": lambda given: (
        {key: str(value) for key, value in given.items() if value} if isinstance(given, dict) else None
    ),
}
"""What is read and not only shown. None: not of this shape, and left out; null says as much in the file."""


def facts(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(content, damage): plain values, those of SHAPES with their shape. Empty where the file is missing or unreadable."""
    file = folder / "run.json"
    try:
        record = values.plain(json.loads(content(file, LIMIT, folder).decode("utf-8-sig")))
    except FileNotFoundError:
        return {}, ()
    except (ValueError, RecursionError) as error:
        return {}, (visible(f"{_named(file, error)}; the run is read without it"),)
    if not isinstance(record, dict):
        return {}, (visible(f"{file}: no JSON object; the run is read without it"),)
    damage = Damage(file)
    for key, shape in SHAPES.items():
        if key in record:
            given = record.pop(key)
            made = shape(given)
            if made is not None:
                record[key] = made
            elif given is not None:
                damage.value(1, key, f"{shown(given)} is none")
    return record, damage.lines


def _named(file: Path, error: Exception) -> str:
    """With the file in front, once."""
    text = "nested too deep" if isinstance(error, RecursionError) else str(error)
    text = f"no JSON ({text})" if isinstance(error, json.JSONDecodeError) else text
    return text if text.startswith(str(file)) else f"{file}: {text}"
