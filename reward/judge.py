"""One verifier on one completion: whatever happens, an outcome."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from entropostat.data.example import Example
from entropostat.reward.verifier import Verifier

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


def judge(verifier: Verifier, completion: str, example: Example) -> Outcome:
    """Run ``verifier``. Anything that it raises, and any score that is not a finite number, becomes an outcome with a
    problem: a fault of a verifier costs one completion, never the run.
    """
    try:
        score = verifier.score(completion, example)
        if score is not None and not isinstance(score, Real):
            return Outcome(
                problem="error", message=f"returned {type(score).__name__} {score!r:.60} instead of a number"
            )
        if score is not None and not math.isfinite(score):
            return Outcome(problem="error", message=f"returned {score}")
        answer = verifier.answer_key(completion, example)
        strategy = verifier.strategy(completion, example)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (user code may raise anything, and may call exit)
        return Outcome(problem="error", message=f"{type(error).__name__}: {error}")
    return Outcome(None if score is None else float(score), answer, strategy)
