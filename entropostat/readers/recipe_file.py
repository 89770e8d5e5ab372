"""recipe.yaml of a run: the recipe that it was started with, resolved. Read as data; it is not checked again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from entropostat.readers.values import name, plain
from entropostat.regular import content
from entropostat.rl.info import SLOTS
from entropostat.visible import visible
from entropostat.yaml_text import LIMIT, Room, YamlFault, nodes, scalar

INCIDENTAL = ("name", "seed", "output_dir", "tracking", "launch", "slurm")
"""Blocks of a recipe in which repetitions of one experiment may differ."""


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
        mapping = plain(_parsed(text))
    except ValueError as error:
        place = f" (line {error.line})" if isinstance(error, YamlFault) and error.line else ""
        return text, {}, (visible(f"{file}: {error}{place}; the run is read without it"),)
    if not isinstance(mapping, dict):
        return "", {}, (visible(f"{file}: no mapping; the run is read without it"),)
    return text, mapping, ()


def _parsed(text: str) -> Any:
    """Plain values, of text that is no recipe too: what a recipe could not hold is None."""
    root, room = nodes(text), Room()

    def made(node: Node, depth: int) -> Any:
        room.take(depth, str(node.value) if isinstance(node, ScalarNode) else "")
        if isinstance(node, SequenceNode):
            return [made(item, depth + 1) for item in node.value]
        if isinstance(node, MappingNode):
            return {str(made(key, depth + 1)): made(item, depth + 1) for key, item in node.value}
        assert isinstance(node, ScalarNode)
        try:
            return scalar(node)
        except YamlFault:
            return None

    return None if root is None else made(root, 1)


def fingerprint(folder: Path, mapping: Mapping[str, Any]) -> str:
    """Of the recipe without what is incidental. A run without a recipe is like no other: its folder stands for it."""
    if not mapping:
        return str(folder)
    kept = {key: value for key, value in mapping.items() if key not in INCIDENTAL}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def term_names(mapping: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the objective's terms: the kind, or what ``name`` says."""
    objective = mapping.get("objective")
    given = [objective.get(slot) for slot in SLOTS] if isinstance(objective, dict) else []
    terms = [term for slot in given for term in (slot if isinstance(slot, list) else [slot]) if isinstance(term, dict)]
    named = [_name(kind, options) for term in terms for kind, options in term.items()]
    return tuple(dict.fromkeys(one for one in named if one is not None))


def _name(kind: str, options: Any) -> str | None:
    own = options.get("name") if isinstance(options, dict) else None
    return name(own) or name(kind)
