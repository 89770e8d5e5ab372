"""One verifier on one completion: whatever happens, an outcome."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from entropostat.data.example import Example
from entropostat.reward.verifier import Verifier
from entropostat.rl.info import LARGEST_REWARD as LARGEST

Problem = Literal["error", "timeout"]


@dataclass(frozen=True)
class Outcome:
    """What a verifier said. Built of plain values only, because it may come from another process."""

    score: float | None = None
    answer: str | None = None
    strategy: str | None = None
    problem: Problem | None = None
    message: str = ""

    @property
    def right(self) -> bool:
        """A partial score is not right."""
        return self.score is not None and self.score >= 1.0


LONGEST = 500
"""Characters of a message."""


def judge(verifier: Verifier, completion: str, example: Example, *, interrupts: bool = True) -> Outcome:
    """Run ``verifier``. Anything that it raises, and any score that is no number that training can use, becomes an outcome with
    a problem: a fault of a verifier costs one completion, never the run.

    ``interrupts``: a KeyboardInterrupt is the user's, as it is in the trainer. In a worker it is the verifier's.
    """
    try:
        score: float | None = None
        for one in example.accepted:
            given = verifier.score(completion, one)
            why = unusable(given, verifier.heaviest)
            if why is not None:
                return Outcome(problem="error", message=why)
            score = given if score is None else score if given is None else max(score, given)
        answer = verifier.answer_key(completion, example)
        strategy = verifier.strategy(completion, example)
        return Outcome(None if score is None else float(score), _text(answer), _text(strategy))
    except BaseException as error:  # user code may raise anything, may call exit, and may cancel
        if interrupts and isinstance(error, KeyboardInterrupt):
            raise
        return Outcome(problem="error", message=f"{type(error).__name__}: {said(error)}")


def unusable(score: object, weight: float) -> str | None:
    """Why a score cannot be learned from."""
    if score is None:
        return None
    if isinstance(score, list | tuple):
        return f"returned a {type(score).__name__} of {len(score)} instead of a number; form: batch returns a score for each completion"
    if not isinstance(score, Real):
        return f"returned {type(score).__name__} {said(score)!r:.60} instead of a number"
    try:
        number = float(score)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return f"returned {said(score):.40}"
    if abs(number) * max(1.0, abs(weight)) > LARGEST:
        return f"returned {number:g}, which is beyond {LARGEST:g} (times its weight {weight:g}): float32 cannot learn from it; scale it down"
    return None


def said(thing: object) -> str:
    """Text of anything at all: on one line, short, without what a terminal would obey. Its ``__str__`` may raise, too."""
    try:
        text = " ".join(str(thing)[: 4 * LONGEST].split())[:LONGEST]
    except BaseException as error:  # noqa: BLE001
        return f"(its text cannot be read: {type(error).__name__})"
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _text(value: object) -> str | None:
    """A plain string, which any process can read."""
    return None if value is None else str(value)
