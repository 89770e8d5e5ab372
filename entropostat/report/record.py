"""What a run brings along besides its metrics, and which runs are one recipe under several seeds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from entropostat.readers import own, read_all
from entropostat.readers.damage import Damage
from entropostat.readers.recipe_file import INCIDENTAL
from entropostat.readers.rows import Row, completions, histograms
from entropostat.readers.run_folder import Run
from entropostat.readers.values import name, whole
from entropostat.visible import visible


@dataclass(frozen=True)
class Record:
    label: str
    """The run's name, or with its parent folder where two are called the same."""
    run: Run
    completions: list[Row] = field(default_factory=list)
    histograms: list[Row] = field(default_factory=list)
    damage: tuple[str, ...] = ()
    """What was left out, a line a file."""

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.run.facts

    @property
    def recipe(self) -> Mapping[str, Any]:
        return self.run.recipe

    @property
    def seed(self) -> int | None:
        return whole(self.recipe.get("seed")) if self.run.seed is None else self.run.seed

    @property
    def family(self) -> tuple[str, str]:
        """Equal for the seeds of one recipe. A name alone is not enough: a sweep keeps it and changes a coefficient."""
        rest = {key: value for key, value in self.recipe.items() if key not in INCIDENTAL}
        return name(self.recipe.get("name")) or self.facts.get("name", self.label), json.dumps(rest, sort_keys=True)


def records(paths: list[Path]) -> list[Record]:
    """Raises FileNotFoundError or ValueError, each in one line."""
    unlabelled = [record for path in paths for record in _at(path)]
    names = Counter(record.label for record, _, _ in unlabelled)
    seen: Counter[str] = Counter()
    unique = []
    for record, before, after in unlabelled:
        label = f"{before}{record.label}{after}" if names[record.label] > 1 else record.label
        seen[label] += 1
        again = f" ({seen[label]})" if seen[label] > 1 else ""
        unique.append(replace(record, label=label + again))
    return unique


def _at(path: Path) -> list[tuple[Record, str, str]]:
    """Each run, and what goes before and after its name where another one is called the same."""
    if not own(path):
        kind = {".db": "trackio", ".wandb": "wandb"}.get(path.suffix)
        return [
            (Record(run.name, run, damage=run.damage), "", f" ({kind or run.trainer or 'log'})")
            for run in read_all(path)
        ]
    folder = path.absolute().parent if path.is_file() else path.absolute()
    (run,) = read_all(path)
    said, wrong = _rows(folder / "completions.jsonl", completions)
    drawn, bad = _rows(folder / "histograms.jsonl", histograms)
    return [(Record(run.name, run, said, drawn, (*run.damage, *wrong, *bad)), f"{visible(folder.parent.name)}/", "")]


def _rows(file: Path, read: Callable[[Path, Damage, Path], list[Row]]) -> tuple[list[Row], tuple[str, ...]]:
    """(rows, damage); none where there is no such file."""
    damage = Damage(file)
    try:
        return read(file, damage, file.parent), damage.lines
    except FileNotFoundError:
        return [], ()
    except ValueError as error:
        return [], (visible(f"{error}; the run is shown without it"),)
