"""What a run folder holds, read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from entropostat.readers.damage import Damage
from entropostat.readers.facts import facts
from entropostat.readers.recipe_file import fingerprint, recipe, term_names
from entropostat.readers.rows import Row, metrics
from entropostat.visible import visible


@dataclass(frozen=True)
class Run:
    """Made by a reader: its shape can be trusted, whatever the files held."""

    name: str
    rows: list[Row]
    """By step; numbers, and None where nothing was measured."""
    stages: dict[str, int]
    """'0/easy' -> the step at which the stage begins."""
    seed: int | None = None
    fingerprint: str = ""
    """Of the recipe without what is incidental: equal for runs that differ in their seed alone."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """run.json."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Resolved; empty where there is none."""
    recipe_text: str = ""
    damage: tuple[str, ...] = ()
    """What was left out, a line a file."""
    trainer: str = ""
    """Whose log it is, as ``readers.names`` spells it; empty for our own, and where nothing tells."""

    def with_damage(self, more: Iterable[str]) -> Run:
        return replace(self, damage=(*self.damage, *map(visible, more)))

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Raises FileNotFoundError where ``folder`` is no run, ValueError where its log cannot be read, each in one line."""
        file = folder / "metrics.jsonl"
        log = Damage(file)
        try:
            rows = metrics(file, log, folder)
        except FileNotFoundError:
            raise FileNotFoundError(f"{folder}: no run there (metrics.jsonl is missing)") from None
        known, wrong = facts(folder)
        text, given, unread = recipe(folder)
        told = (*log.lines, *wrong, *unread)
        mark = fingerprint(folder, given)
        name = visible(folder.absolute().name)
        return cls(name, rows, known.get("stages", {}), known.get("seed"), mark, known, given, text, told)

    @property
    def vocabulary(self) -> int | None:
        """V, whose logarithm is the ceiling of the entropy; older runs do not say it."""
        return self.facts.get("vocabulary")

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the objective's terms."""
        return term_names(self.recipe)

    @cached_property
    def _columns(self) -> dict[str, tuple[list[int], list[float]]]:
        columns: dict[str, tuple[list[int], list[float]]] = {}
        for row in self.rows:
            step = row["step"]
            for key, value in row.items():
                if value is not None:
                    if key not in columns:
                        columns[key] = ([], [])
                    columns[key][0].append(step)
                    columns[key][1].append(value)
        columns.pop("step", None)
        return columns

    @property
    def keys(self) -> list[str]:
        """What was measured at least once, in the order of logging."""
        return list(self._columns)

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """(steps, values) of a metric, where it was measured."""
        steps, values = self._columns.get(key, ((), ()))
        return list(steps), list(values)

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
        return sorted(key[len("control/") : -len("/output")] for key in self._columns if is_output(key))


def is_output(key: str) -> bool:
    return key.startswith("control/") and key.endswith("/output")
