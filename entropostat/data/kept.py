"""Which rows of a source are kept, decided on hashes: eight bytes for what a row asks, answers and shows, whatever its length.

Equal prompts are equal conversations, system prompts included; held-out prompts are told apart by what is asked last.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from entropostat.data.example import Example
from entropostat.data.split import is_held_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

Policy = Literal["drop", "keep"]


@dataclass(frozen=True)
class Rules:
    """What is kept for training and held-out evaluation: the options of a recipe's ``data`` block by their names."""

    held_out: float = 0.0
    duplicates: Policy = "drop"
    missing_answer: Policy = "keep"
    max_prompt_tokens: int | None = None


@dataclass
class Marks:
    """One source's rows as they are read, in parallel arrays."""

    prompt: array[int] = field(default_factory=lambda: array("Q"))
    answer: array[int] = field(default_factory=lambda: array("Q"))
    """0: there is none."""
    asked: array[int] = field(default_factory=lambda: array("Q"))
    held: array[int] = field(default_factory=lambda: array("B"))

    def add(self, example: Example, share: float) -> None:
        text, answer = example.text, (example.answer or "").strip()
        self.prompt.append(hashed(conversation(example)))
        self.answer.append(hashed(answer) | 1 if answer else 0)
        self.asked.append(hashed(text.strip()))
        self.held.append(is_held_out(text, share))


def hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def conversation(example: Example) -> str:
    """The whole prompt as one text, the same for a text and for one message of a user."""
    prompt = example.prompt
    messages: Iterable[Any] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    shown = [{k: v.strip() if isinstance(v, str) else v for k, v in m.items() if v is not None} for m in messages]
    return json.dumps(shown, sort_keys=True, default=str)


class Kept:
    """``reason`` (rows,) is 0 for a row that is kept, else one more than the place of its reason in ``REASONS``."""

    REASONS = ("no_answer", "duplicate", "conflicting", "too_long", "tested")

    def __init__(self, marks: Marks) -> None:
        import numpy as np

        self.prompt, self.answer, self.asked = (
            np.frombuffer(x, dtype=np.uint64) if len(x) else np.zeros(0, dtype=np.uint64)
            for x in (marks.prompt, marks.answer, marks.asked)
        )
        held: NDArray[Any] = np.frombuffer(marks.held, dtype=np.uint8) if len(marks.held) else np.zeros(0, np.uint8)
        self.held: NDArray[Any] = held.astype(bool)
        self.reason: NDArray[Any] = np.zeros(len(self.held), dtype=np.uint8)

    @property
    def alive(self) -> NDArray[Any]:
        """(rows,) bool."""
        alive: NDArray[Any] = self.reason == 0
        return alive

    def drop(self, rows: NDArray[Any], reason: str) -> None:
        """``rows`` is a mask, or places."""
        import numpy as np

        mask = np.zeros_like(self.held)
        mask[rows] = True
        self.reason[mask & self.alive] = 1 + self.REASONS.index(reason)

    def without_answer(self) -> None:
        self.drop(self.answer == 0, "no_answer")

    def repeated(self, one_answer: bool) -> None:
        """Of equal prompts the first that has an answer stays; with ``one_answer`` none does where the answers differ."""
        import numpy as np

        places = np.flatnonzero(self.alive)
        _, group = np.unique(self.prompt[places], return_inverse=True)
        answers = self.answer[places]
        # By group, answered rows first, then as they stand in the source: the first of each stays.
        order = np.lexsort((places, answers == 0, group))
        first = np.ones(len(order), dtype=bool)
        first[1:] = group[order][1:] != group[order][:-1]
        if one_answer and len(places):
            low = np.full(group.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
            high = np.zeros(group.max() + 1, dtype=np.uint64)
            given = answers != 0
            np.minimum.at(low, group[given], answers[given])
            np.maximum.at(high, group[given], answers[given])
            self.drop(places[(high > low)[group]], "conflicting")
        self.drop(places[order[~first]], "duplicate")

    def asked_in(self, tested: Iterable[int]) -> None:
        import numpy as np

        self.drop(np.isin(self.asked, np.fromiter(tested, dtype=np.uint64)), "tested")

    def repeated_held_out(self) -> None:
        """A repeated one would count twice in pass@k."""
        import numpy as np

        places = np.flatnonzero(self.alive & self.held)
        _, first = np.unique(self.asked[places], return_index=True)
        self.drop(np.setdiff1d(places, places[first]), "duplicate")

    def counts(self) -> dict[str, int]:
        """By reason, without those that hold for no row."""
        found = {reason: int((self.reason == 1 + i).sum()) for i, reason in enumerate(self.REASONS)}
        return {reason: count for reason, count in found.items() if count}
