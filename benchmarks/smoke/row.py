"""What a check is told, and what it tells: the two ends of a row of the checklist."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["pass", "fail", "skipped"]


@dataclass(frozen=True)
class Place:
    """Where a check runs."""

    device: Literal["cuda", "cpu"]
    gpus: int
    """Those that a run here would find; 0 on the CPU."""
    scratch: Path
    """A folder that is removed when the row is over."""

    @property
    def processes(self) -> int:
        """Of a run on several: one for each GPU, or two over gloo."""
        return self.gpus if self.device == "cuda" else 2


@dataclass(frozen=True)
class Seen:
    """What a check measured."""

    text: str
    """For the table, with units."""
    numbers: dict[str, Any] = field(default_factory=dict)


class Skipped(Exception):
    """Why a check cannot be made here."""


class Failed(Exception):
    """A bar that was missed: what was seen, and the bar."""

    def __init__(self, text: str, **numbers: Any) -> None:
        super().__init__(text)
        self.numbers = numbers


@dataclass(frozen=True)
class Row:
    """One line of the table, and one entry of the JSON."""

    name: str
    title: str
    status: Status
    seen: str
    """Of a row that passed what was measured, else why it did not."""
    seconds: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)
    tail: str = ""
    """The last lines of its log, where it failed."""

    def data(self) -> dict[str, Any]:
        return asdict(self)


def require(held: bool, text: str, **numbers: Any) -> None:
    """Raises Failed unless ``held``. ``text`` says what was seen and what was wanted."""
    if not held:
        raise Failed(text, **numbers)
