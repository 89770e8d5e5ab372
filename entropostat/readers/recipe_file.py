"""recipe.yaml of a run: the recipe that it was started with, resolved. Read as data; it is not checked again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entropostat.readers.regular import content
from entropostat.readers.values import DEPTH, name, plain
from entropostat.visible import visible

LIMIT = 1 << 16
"""Bytes. A resolved recipe has a few thousand, and YAML takes its time."""
INCIDENTAL = ("name", "seed", "output_dir", "tracking", "launch", "slurm")
"""Blocks of a recipe in which repetitions of one experiment may differ."""
SLOTS = ("advantages", "weights", "loss", "penalties", "scalars")


def recipe(folder: Path) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """(text, content, damage): both empty where the file is missing or no recipe."""
    file = folder / "recipe.yaml"
    try:
        text = content(file, LIMIT, folder).decode("utf-8", "replace")
    except FileNotFoundError:
        return "", {}, ()
    except ValueError as error:
        return "", {}, (visible(f"{error}; the run is read without it"),)
    try:
        found = plain(_parsed(text))
    except ValueError as error:
        return text, {}, (visible(f"{file}: {error}; the run is read without it"),)
    if not isinstance(found, dict):
        return "", {}, (visible(f"{file}: no mapping; the run is read without it"),)
    return text, found, ()


def _parsed(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.events import MappingEndEvent, MappingStartEvent, SequenceEndEvent, SequenceStartEvent

    depth = 0
    try:
        for event in YAML(typ="safe", pure=True).parse(text):  # deep text takes the square of its depth to load
            depth += isinstance(event, SequenceStartEvent | MappingStartEvent)
            depth -= isinstance(event, SequenceEndEvent | MappingEndEvent)
            if depth > DEPTH:
                break
        else:
            return YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # noqa: BLE001  of a wrong date or a bare tag it raises whatever its code meets
        place = getattr(error, "problem_mark", None)
        raise ValueError(f"no YAML{f' (line {place.line + 1})' if place else ''}") from None
    raise ValueError("nested too deep")


def fingerprint(folder: Path, found: Mapping[str, Any]) -> str:
    """Of the recipe without what is incidental. A run without a recipe is like no other: its folder stands for it."""
    if not found:
        return str(folder)
    kept = {key: value for key, value in found.items() if key not in INCIDENTAL}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def term_names(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the objective's terms: the kind, or what ``name`` says."""
    objective = found.get("objective")
    given = [objective.get(slot) for slot in SLOTS] if isinstance(objective, dict) else []
    terms = [term for slot in given for term in (slot if isinstance(slot, list) else [slot]) if isinstance(term, dict)]
    named = [_name(kind, options) for term in terms for kind, options in term.items()]
    return tuple(dict.fromkeys(one for one in named if one is not None))


def _name(kind: str, options: Any) -> str | None:
    own = options.get("name") if isinstance(options, dict) else None
    return name(own) or name(kind)
