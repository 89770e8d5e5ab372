"""The same rules while a run goes on: rows in, each finding out once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from entropostat.diagnose import examine
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.log import Log

EVERY = 10
"""Rows from one look to the next ..."""
SHARE = 50
"""... and at least this part of the rows so far, so that a look, whose cost grows with the log, costs the same a row."""


class Live:
    def __init__(self, vocabulary: int | None = None, terms: Iterable[str] = ()) -> None:
        self.log = Log(vocabulary, terms)
        self._told: set[tuple[str, str]] = set()
        self._next = EVERY

    def add(self, row: Mapping[str, Any]) -> list[Finding]:
        """New findings, if it is time to look."""
        self.log.add(row)
        return self.look() if self.log.rows >= self._next else []

    def look(self) -> list[Finding]:
        self._next = self.log.rows + max(EVERY, self.log.rows // SHARE)
        news = [one for one in examine(self.log) if (one.rule, one.subject) not in self._told]
        self._told |= {(one.rule, one.subject) for one in news}
        return news

    def skip(self) -> None:
        """Findings of rows that were there before, such as those of a run that goes on, have been told."""
        self.look()
