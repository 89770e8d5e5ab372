"""What the prompts of a source lose on the way to training, counted by reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WORDS = {
    "where": "by where",
    "no_answer": "without an answer",
    "duplicate": "a prompt once more",
    "conflicting": "of one prompt with several answers",
    "too_long": "longer than data.max_prompt_tokens",
    "tested": "asked in evaluate.sets",
}
"""Reasons, in the order in which they are applied: a row counts under the first that holds."""


@dataclass(frozen=True)
class Dropped:
    """One source: ``read`` is ``train + held_out`` and what ``reasons`` add up to. All are rows."""

    source: str
    read: int
    train: int
    held_out: int
    reasons: Mapping[str, int]
    """Key of ``WORDS`` -> how many; reasons without rows are left out."""

    @property
    def total(self) -> int:
        return sum(self.reasons.values())

    def __str__(self) -> str:
        """One line for people."""
        lost = ", ".join(f"{count} {WORDS[reason]}" for reason, count in self.reasons.items())
        return (
            f"data.sources.{self.source}: {self.train} prompts to train on and {self.held_out} held out, of {self.read} rows"
            + (f"; dropped: {lost}" if lost else "")
        )
