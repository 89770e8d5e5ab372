"""The kinds of data source that a recipe can name."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from entropostat.data.example import Example
from entropostat.rl.registry import Registry
from entropostat.rl.term import Term

MOST = 1_000_000
"""Prompts that a source generates: all of them are held in memory."""


class Source(Term):
    """What a source does besides holding its options."""

    one_answer: ClassVar[bool] = True
    """The given answer is the only right one, so that two for one prompt contradict each other. False: it is an example."""

    @abstractmethod
    def load(self, base: Path | None = None) -> list[Example]:
        """All examples, in a fixed order. Relative paths are tried in ``base``, the recipe's folder, then in the
        working directory. Raises ``DataError``.
        """

    def rows(self, base: Path | None = None, dropped: Counter[str] | None = None) -> Iterator[Example]:
        """The same one by one, from a source that need not hold all at once. ``dropped`` counts what its options leave out, by the
        reasons of ``entropostat/data/dropped.py``.
        """
        yield from self.load(base)

    def check(self, base: Path | None = None) -> Iterator[str]:
        """What is wrong as far as it can be seen at once, without a network and without loading all rows: a line each, with
        the fix behind the first semicolon. ``plan`` calls it.
        """
        yield from ()


SOURCES: Registry[Source] = Registry("sources", "entropostat.data.sources", Source)
"""Kind -> frozen dataclass that inherits ``Source``. A new source is one file in ``entropostat/data/sources``."""
