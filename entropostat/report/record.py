"""What a run brings along besides its metrics, and which runs are one recipe under several seeds."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from entropostat.readers import json_lines, read_all
from entropostat.readers.run_folder import Run

INCIDENTAL = ("seed", "name", "output_dir", "tracking", "launch", "slurm")
"""Top-level keys in which the seeds of one recipe may differ."""


@dataclass(frozen=True)
class Record:
    label: str
    """The run's name, or with its parent folder where two are called the same."""
    run: Run
    facts: dict[str, Any] = field(default_factory=dict)
    """run.json."""
    recipe_text: str = ""
    completions: list[dict[str, Any]] = field(default_factory=list)
    histograms: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Resolved; empty where it is missing or no YAML."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        try:
            found = YAML(typ="safe", pure=True).load(io.StringIO(self.recipe_text))
        except YAMLError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def seed(self) -> Any:
        return self.facts.get("seed", self.recipe.get("seed"))

    @property
    def family(self) -> tuple[str, str]:
        """Equal for the seeds of one recipe. A name alone is not enough: a sweep keeps it and changes a coefficient."""
        name = self.recipe.get("name", self.facts.get("name", self.label))
        rest = {key: value for key, value in self.recipe.items() if key not in INCIDENTAL}
        return str(name), json.dumps(rest, sort_keys=True, default=str)


def records(paths: list[Path]) -> list[Record]:
    """Raises FileNotFoundError or ValueError, each in one line."""
    found = [record for path in paths for record in _at(path)]
    names = Counter(record.label for record, _, _ in found)
    seen: Counter[str] = Counter()
    unique = []
    for record, before, after in found:
        label = f"{before}{record.label}{after}" if names[record.label] > 1 else record.label
        seen[label] += 1
        again = f" ({seen[label]})" if seen[label] > 1 else ""
        unique.append(replace(record, label=label + again))
    return unique


def _at(path: Path) -> list[tuple[Record, str, str]]:
    """Each run, and what goes before and after its name where another one is called the same."""
    if path.suffix in (".db", ".wandb") or not (path.is_file() or (path / "metrics.jsonl").is_file()):
        kind = "trackio" if path.suffix == ".db" else "wandb"
        return [(Record(run.name, run), "", f" ({kind})") for run in read_all(path)]
    folder = path.absolute().parent if path.is_file() else path.absolute()
    (run,) = read_all(path)
    recipe = folder / "recipe.yaml"
    text = recipe.read_text(errors="replace") if recipe.is_file() else ""
    extra = (json_lines(folder / "completions.jsonl"), json_lines(folder / "histograms.jsonl"))
    return [(Record(run.name, run, _object(folder / "run.json"), text, *extra), f"{folder.parent.name}/", "")]


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
