"""One finding of a lint: how bad, which key, what is wrong and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Lint:
    level: Literal["error", "warning", "note"]
    """``error``: the run would fail or not do what it says. ``plan`` then exits with 1."""
    key: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.level}: {self.key}: {self.message}; {self.fix}"
