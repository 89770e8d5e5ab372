"""The rows of a run as columns that grow. Rules read these, while a run goes on or after it."""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LAST_CHARACTER = chr(sys.maxunicode)
PREFIXES = ("train/",)
"""What trackers put before TRL's keys."""


class RunLike(Protocol):
    """What a rule needs of a run, as ``entropostat.compare.table.Run`` has it."""

    @property
    def rows(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Series:
    """Where a metric was logged, and what; NaN where it was logged as none."""

    steps: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def finite(self) -> Series:
        keep = np.isfinite(self.values)
        return self if keep.all() else Series(self.steps[keep], self.values[keep])

    def count(self, step: float | Floats) -> Any:
        """How many values were there by ``step``."""
        return np.searchsorted(self.steps, step, side="right")


EMPTY = Series(np.zeros(0), np.zeros(0))


class Log:
    """``add`` rows in the order of their steps, then ask for ``series``."""

    def __init__(
        self, vocabulary: int | None = None, terms: Iterable[str] = (), edges: Iterable[float] = (), trainer: str = ""
    ) -> None:
        self.vocabulary = vocabulary
        self.edges = tuple(edges)
        """Steps at which a curriculum goes on to other prompts."""
        self.trainer = trainer
        """Whose log it is, as ``readers.names`` spells it; empty: ours, or not known."""
        self.terms = frozenset(terms)
        """Names of the objective's terms, where known: a change of the recipe edits these and adds others."""
        self._columns: dict[str, tuple[array[float], array[float]]] = {}
        self._named: dict[str, tuple[array[float], array[float]]] = {}
        """The same by the key of a row."""
        self._seen: dict[str, Series] = {}
        self._middles: dict[tuple[str, str], list[str]] = {}
        self._sorted: list[str] = []
        self.rows = 0
        self.last = 0.0

    @classmethod
    def of(cls, run: RunLike) -> Log:
        """``run.vocabulary``, if it has one, tells where the ceiling of the entropy is; ``run.terms`` what a change may edit."""
        facts = getattr(run, "facts", None)
        vocabulary = getattr(run, "vocabulary", None) or (
            facts.get("vocabulary") if isinstance(facts, Mapping) else None
        )
        log = cls(
            int(vocabulary) if isinstance(vocabulary, int | float) and vocabulary > 1 else None,
            getattr(run, "terms", ()),
            [step for step in getattr(run, "stages", {}).values() if step > 0],
            getattr(run, "trainer", ""),
        )
        log.extend(cls.ordered(run.rows))
        return log

    @staticmethod
    def ordered(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those with a step, by step: trackers may have lost the order."""
        return sorted((row for row in rows if _number(row.get("step")) is not None), key=lambda row: float(row["step"]))

    def extend(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """What is no number is left out; None, which JSON has for NaN, is kept as NaN."""
        step = float(row["step"])
        self.rows, self.last = self.rows + 1, max(self.last, step)
        self._seen.clear()
        for key, given in row.items():
            value = math.nan if given is None else _number(given)
            if value is not None:
                column = self._named.get(key) or self._column(key)
                column[0].append(step)
                column[1].append(value)

    def _column(self, key: str) -> tuple[array[float], array[float]]:
        name = key
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        self._named[key] = self._columns.setdefault(name, (array("d"), array("d")))
        return self._named[key]

    def series(self, key: str) -> Series:
        by_step = self._seen.get(key)
        if by_step is None:
            column = self._columns.get(key)
            by_step = EMPTY if column is None else _by_step(np.array(column[0]), np.array(column[1]))
            self._seen[key] = by_step
        return by_step

    def first(self, *keys: str) -> Series:
        """The finite values of the first of these that was logged."""
        for key in keys:
            series = self.series(key).finite
            if len(series):
                return series
        return EMPTY

    def middles(self, prefix: str, suffix: str) -> list[str]:
        """What stands between ``prefix`` and ``suffix`` in the keys of the run."""
        if len(self._sorted) != len(self._columns):
            self._sorted = sorted(self._columns)
            self._middles.clear()
        names = self._middles.get((prefix, suffix))
        if names is None:
            size = len(prefix) + len(suffix)
            begin, end = (bisect_left(self._sorted, edge) for edge in (prefix, prefix + LAST_CHARACTER))
            mine = [key for key in self._sorted[begin:end] if key.endswith(suffix) and len(key) > size]
            names = self._middles[prefix, suffix] = sorted(key[len(prefix) : len(key) - len(suffix)] for key in mine)
        return names

    def has(self, key: str) -> bool:
        return key in self._columns

    @property
    def keys(self) -> Iterable[str]:
        return self._columns.keys()


def _by_step(steps: Floats, values: Floats) -> Series:
    """Rows of a run that is followed may come in another order; those of one step stay in theirs."""
    if (steps[1:] >= steps[:-1]).all():
        return Series(steps, values)
    order = np.argsort(steps, kind="stable")
    return Series(steps[order], values[order])


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
