"""JSON lines of another trainer: ms-swift's ``logging.jsonl``, verl's file logger with its metrics below ``data``, any rows with a step."""

from __future__ import annotations

from pathlib import Path

from entropostat.readers.damage import Damage
from entropostat.readers.foreign import ForeignRows
from entropostat.readers.lines import json_lines
from entropostat.readers.run_folder import Run
from entropostat.readers.values import whole

OWN = "logging.jsonl"
"""ms-swift's name for it, the same in every run: the folder is what tells them apart."""


def read(file: Path) -> Run:
    """Raises ValueError where no line is a row with a step and a number."""
    damage = Damage(file)
    rows = ForeignRows(damage)
    for _, row in json_lines(file, damage):
        inner = row.get("data")
        if isinstance(inner, dict):
            rows.add(inner, whole(row.get("step")))
        else:
            rows.add(row)
    if rows.rows and rows.unstepped == len(rows.rows):
        raise ValueError(f"{file}: no row of it says its step")
    return rows.run(file.absolute().parent.name if file.name == OWN else file.stem)
