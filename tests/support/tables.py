"""Examples as the table that a run trains on."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from entropostat.data.dataset import Table
from entropostat.data.example import Example
from entropostat.data.kept import Rules
from entropostat.data.prepare import prepare
from entropostat.data.registry import Source


class Given:
    """A source that holds what it is given."""

    def __init__(self, examples: Sequence[Example], one_answer: bool = True, where: int = 0) -> None:
        self.examples, self.one_answer, self.where = examples, one_answer, where

    def rows(self, base: Path | None = None, dropped: Counter[str] | None = None) -> Iterator[Example]:
        yield from self.examples
        if dropped is not None:
            dropped["where"] += self.where


def table(
    sources: Mapping[str, Sequence[Example] | Given | Source],
    rules: Rules | None = None,
    sets: Mapping[str, Sequence[Example]] | None = None,
    **more: Any,
) -> Table:
    """Keeps everything unless ``rules`` say otherwise."""
    given: dict[str, Any] = {name: Given(s) if isinstance(s, list | tuple) else s for name, s in sources.items()}
    asked: dict[str, Any] = {name: Given(s) for name, s in (sets or {}).items()}
    return prepare(
        Path(tempfile.mkdtemp(prefix="table-")),
        given,
        asked,
        Rules(duplicates="keep") if rules is None else rules,
        **more,
    )
