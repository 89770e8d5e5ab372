"""The kinds of data source that a recipe can name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from entropostat.data.example import Example
from entropostat.rl.registry import Registry

SOURCES = Registry("sources", "entropostat.data.sources")
"""Kind -> frozen dataclass. A new source is one file in ``entropostat/data/sources``."""

MOST = 1_000_000
"""Prompts that a source generates: all of them are held in memory."""


class Source(Protocol):
    """What a source does besides holding its options."""

    def load(self, base: Path | None = None) -> list[Example]:
        """All examples, in a fixed order. Relative paths are tried in ``base``, the recipe's folder, then in the
        working directory. Raises ``DataError``.
        """
        ...
