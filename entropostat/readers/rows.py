"""The three kinds of rows that a run writes, each value checked: what is behind here may trust its shape.

A row of metrics.jsonl has a whole ``step`` and otherwise numbers, or None where nothing was measured. NaN and infinity, which
other writers put there, mean the same. What is neither is left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from entropostat.readers import values
from entropostat.readers.damage import Damage
from entropostat.readers.lines import json_lines
from entropostat.readers.values import LARGEST, is_number, shown, whole

Row = dict[str, Any]
LONG = 1_000_000
"""Characters of a text, and bins of a histogram, at most."""


class MetricRows:
    """Makes rows of the objects of one file."""

    def __init__(self, damage: Damage) -> None:
        self.damage = damage
        self._names: dict[str, str | None] = {}

    def row(self, place: int, given: Mapping[str, Any]) -> Row | None:
        step = whole(given.get("step"))
        if step is None:
            self.damage.row(place, f"its step is {shown(given.get('step'))}" if "step" in given else "it has no step")
            return None
        made: Row = {"step": step}
        for key, value in given.items():
            kind = type(value)
            if key not in self._names:
                self._names[key] = values.name(key)
            known = self._names[key]
            if known is None:
                self.damage.value(place, key[:20], "its name is empty or too long")
            elif value is None or ((kind is float or kind is int) and -LARGEST <= value <= LARGEST):
                if known != "step":
                    made[known] = value
            elif kind is float and not math.isfinite(value):
                made[known] = None
            else:
                self.damage.value(place, known, f"{shown(value)} is no number that a run logs")
        return made


def metrics(file: Path, damage: Damage, within: Path | None = None) -> list[Row]:
    """By step, those of one step in the order of the file."""
    rows = MetricRows(damage)
    lines = [row for place, given in json_lines(file, damage, within) if (row := rows.row(place, given)) is not None]
    return in_order(lines)


def in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: int(row["step"]))


def completions(file: Path, damage: Damage, within: Path | None = None) -> list[Row]:
    """``step``, ``prompt`` and ``completion`` as text, ``rewards`` by name and ``advantage``, None where there is none; where they
    were recorded and agree ``tokens`` and their ``entropies``."""
    lines = []
    for place, given in json_lines(file, damage, within):
        step, said = whole(given.get("step")), [_said(given.get(key)) for key in ("prompt", "completion")]
        if step is None or None in said:
            damage.row(place, "no completion: it needs a step, a prompt and a completion")
            continue
        rewards = given.get("rewards")
        made: Row = {
            "step": step,
            "prompt": said[0],
            "completion": said[1],
            "advantage": _number(given.get("advantage")),
        }
        made["rewards"] = _rewards(rewards) if isinstance(rewards, dict) else {}
        lines.append(made | _tokens(given.get("tokens"), given.get("entropies")))
    return lines


def _tokens(tokens: Any, entropies: Any) -> Row:
    lists = isinstance(tokens, list) and isinstance(entropies, list) and len(tokens) == len(entropies) > 0
    if not lists or not all(isinstance(token, str) for token in tokens):
        return {}
    return {"tokens": [values.text(token) for token in tokens], "entropies": [_number(value) for value in entropies]}


def _said(value: Any) -> str | None:
    """A string as it is, a chat as 'role: content' one below the other."""
    if isinstance(value, list) and all(isinstance(message, dict) for message in value):
        value = "\n".join(f"{_part(message, 'role')}: {_part(message, 'content')}" for message in value)
    return values.text(value[:LONG]) if isinstance(value, str) else None


def _part(message: Mapping[str, Any], key: str) -> str:
    content = message.get(key, "")
    return content if isinstance(content, str) else shown(content)


def _rewards(given: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: _number(value) for key, value in given.items() if (name := values.name(key)) is not None}


def _number(value: Any) -> float | None:
    return value if is_number(value) else None


def histograms(file: Path, damage: Damage, within: Path | None = None) -> list[Row]:
    """``step``, ``key``, rising ``edges`` and one count fewer of ``counts``, none of them negative."""
    lines = []
    for place, given in json_lines(file, damage, within):
        step, key = whole(given.get("step")), values.name(given.get("key"))
        edges, counts = _numbers(given.get("edges")), _numbers(given.get("counts"))
        sized = 1 < len(edges) == len(counts) + 1 < LONG
        if step is None or key is None or not sized or min(counts) < 0 or edges != sorted(edges):
            damage.row(place, "no histogram: it needs a step, a key, rising edges and a count between each two")
            continue
        lines.append({"step": step, "key": key, "edges": edges, "counts": counts})
    return lines


def _numbers(value: Any) -> list[float]:
    """Empty where one is none."""
    return value if isinstance(value, list) and all(map(is_number, value)) else []
