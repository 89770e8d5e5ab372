"""What of one file was left out: counted, with the first place and its reason, and told in one line with what else must be known."""

from __future__ import annotations

from pathlib import Path

from entropostat.visible import visible


class Damage:
    def __init__(self, file: Path) -> None:
        self.file = file
        self._counts = {"row": 0, "value": 0}
        self._first: dict[str, str] = {}
        self._notes: list[str] = []

    def note(self, said: str) -> None:
        """Of the whole file; nothing was left out."""
        self._notes.append(said)

    def row(self, place: int, reason: str) -> None:
        """A whole row, numbered from 1."""
        self._add("row", f"row {place}: {reason}")

    def value(self, place: int, key: str, reason: str) -> None:
        """One value of a row that is kept."""
        self._add("value", f"row {place}, {key}: {reason}")

    def _add(self, kind: str, first: str) -> None:
        self._counts[kind] += 1
        self._first.setdefault(kind, first)

    @property
    def lines(self) -> tuple[str, ...]:
        """None where nothing was left out."""
        told = [
            f"{count} {kind}{'s' if count > 1 else ''} left out (the first in {self._first[kind]})"
            for kind, count in self._counts.items()
            if count
        ]
        told += self._notes
        return (visible(f"{self.file}: {', '.join(told)}"),) if told else ()
