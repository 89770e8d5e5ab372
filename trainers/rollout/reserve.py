"""Further prompts of the training table, beside those that its batches bring.

They come in shuffled passes of their own over the prompts of the same sources: a later batch may bring the same prompt again.
Where a pass has come is all that a checkpoint needs.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 1000
"""Rows of the table that are read at a time."""


def identity(row: Mapping[str, Any]) -> str:
    """A prompt is the same wherever it stands."""
    asked = row["prompt"] if "prompt" in row else dict(row)  # an environment may bring the prompt
    text = json.dumps([row.get("source"), asked], default=str, sort_keys=True)
    return hashlib.sha1(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


class Reserve:
    """``table`` is the trainer's: the same on every rank."""

    def __init__(self, table: Any, seed: int) -> None:
        self.table, self.seed = table, seed
        self.passes: dict[str, list[int]] = {}
        """By sources: the number of the pass, and how far it has come."""
        self._pools: dict[str, NDArray[Any]] = {}
        self._order: tuple[str, int, NDArray[Any]] | None = None

    @cached_property
    def _prompts(self) -> tuple[NDArray[Any], NDArray[Any], dict[str, int]]:
        """Of each prompt of the table once: where it stands first, in their order, and the number of its source; those numbers.

        Numbers alone, because every process holds them.
        """
        keys, sources, numbers = array("Q"), array("q"), dict[str, int]()
        for row in _rows(self.table):
            keys.append(int(identity(row)[:16], 16))
            sources.append(numbers.setdefault(str(row.get("source")), len(numbers)))
        _, first = np.unique(np.frombuffer(keys, dtype=np.uint64), return_index=True)
        places = np.sort(first)
        return places, np.frombuffer(sources, dtype=np.int64)[places], numbers

    def draw(self, count: int, sources: Sequence[Any], takes: Callable[[str], bool]) -> list[tuple[str, int]]:
        """Identities, and places in the table, of at most ``count`` prompts that ``takes``, asked by identity in turn; fewer where as
        many prompts as the sources have came up and no more were taken."""
        among = {str(source) for source in sources}
        name = json.dumps(sorted(among))
        if name not in self._pools:
            places, of, numbers = self._prompts
            self._pools[name] = places[np.isin(of, [numbers[source] for source in among if source in numbers])]
        pool = self._pools[name]
        found: list[tuple[str, int]] = []
        for _ in range(len(pool)):
            if len(found) == count:
                break
            place = int(pool[self._next(name, len(pool))])
            key = identity(self.table[place])
            if takes(key):
                found.append((key, place))
        return found

    def _next(self, name: str, size: int) -> int:
        number, place = self.passes.get(name, [0, 0])
        if place >= size:
            number, place = number + 1, 0
        if self._order is None or self._order[:2] != (name, number):
            order = list(range(size))
            Random(f"{self.seed}-reserve-{name}-{number}").shuffle(order)
            self._order = (name, number, np.asarray(order, dtype=np.int64))
        self.passes[name] = [number, place + 1]
        return int(self._order[2][place])


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    names = [name for name in ("prompt", "source") if name in (getattr(table, "column_names", None) or ())]
    if "prompt" not in names:
        yield from (table[index] for index in range(len(table)))
        return
    for start in range(0, len(table), CHUNK):
        part = table.select_columns(names)[start : start + CHUNK]
        yield from (
            dict(zip(names, values, strict=True)) for values in zip(*(part[name] for name in names), strict=True)
        )
