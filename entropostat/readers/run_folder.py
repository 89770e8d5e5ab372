"""What a run folder holds, read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropostat.readers.lines import json_lines

Row = dict[str, Any]

INCIDENTAL = ("name", "seed", "output_dir", "tracking", "launch", "slurm")
"""Blocks of a recipe in which repetitions of one experiment may differ."""


@dataclass(frozen=True)
class Run:
    name: str
    rows: list[Row]
    stages: dict[str, int]
    """'0/easy' -> the step at which the stage begins."""
    seed: int | None = None
    recipe: str = ""
    """Fingerprint of the recipe without what is incidental: equal for runs that differ in their seed alone."""

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Raises FileNotFoundError where ``folder`` is no run."""
        file = folder / "metrics.jsonl"
        if not file.is_file():
            raise FileNotFoundError(f"{folder}: no run there (metrics.jsonl is missing)")
        facts = json.loads((folder / "run.json").read_text()) if (folder / "run.json").is_file() else {}
        name = folder.absolute().name
        return cls(name, json_lines(file), facts.get("stages", {}), facts.get("seed"), fingerprint(folder))

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """(steps, values) of a metric, where it was logged."""
        found = [(row["step"], row[key]) for row in self.rows if isinstance(row.get(key), int | float)]
        return [step for step, _ in found], [value for _, value in found]

    def last(self, key: str) -> float | None:
        """The last value; of a per-step metric the mean of its last tenth, because single steps scatter."""
        _, values = self.series(key)
        if not values:
            return None
        tail = values[-1:] if key.startswith("evaluate/") else values[-max(len(values) // 10, 1) :]
        return float(sum(tail) / len(tail))

    @property
    def knobs(self) -> list[str]:
        """Paths of the controlled fields."""
        found = {key[len("control/") : -len("/output")] for row in self.rows for key in row if is_output(key)}
        return sorted(found)


def is_output(key: str) -> bool:
    return key.startswith("control/") and key.endswith("/output")


def resolved_recipe(folder: Path) -> Mapping[str, Any] | None:
    """The recipe that the run was started with; None where the folder has none."""
    file = folder / "recipe.yaml"
    if not file.is_file():
        return None
    from ruamel.yaml import YAML

    found = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else None


def fingerprint(folder: Path) -> str:
    """A run without a recipe is like no other: its folder stands for it."""
    recipe = resolved_recipe(folder)
    if recipe is None:
        return str(folder)
    kept = {key: value for key, value in recipe.items() if key not in INCIDENTAL}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()
