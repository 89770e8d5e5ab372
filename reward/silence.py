"""Why a verifier scored none of the completions that it was given: in words, over all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from entropostat.data.example import Example
from entropostat.reward.judge import Outcome


@dataclass(frozen=True)
class Silence:
    """What one rank knows. Plain values only, because it travels to the others."""

    completions: int = 0
    errors: int = 0
    timeouts: int = 0
    answers: int = 0
    """Examples with a reference answer."""
    message: str = ""
    """Of the first problem."""

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], examples: Sequence[Example]) -> Silence:
        problems = [outcome.problem for outcome in outcomes]
        return cls(
            completions=len(outcomes),
            errors=problems.count("error"),
            timeouts=problems.count("timeout"),
            answers=sum(example.answer is not None for example in examples),
            message=next((outcome.message for outcome in outcomes if outcome.problem is not None), ""),
        )

    def __add__(self, other: Silence) -> Silence:
        return Silence(
            self.completions + other.completions,
            self.errors + other.errors,
            self.timeouts + other.timeouts,
            self.answers + other.answers,
            self.message or other.message,
        )

    @property
    def failed(self) -> bool:
        return self.errors + self.timeouts > 0

    def line(self, key: str, compares: bool) -> str:
        """What happened and what to do. ``compares``: the verifier needs a reference answer."""
        all_ = f"all {self.completions} completions of the first generation"
        if self.failed:
            how = "failed on" if self.errors + self.timeouts == self.completions else "failed on, or gave no score to,"
            fix = f"raise {key}.timeout, or make it faster" if not self.errors else "mend it, its options or the data"
            return f"{key} {how} {all_}: {' '.join(self.message.split()):.300}; {fix}"
        if compares and not self.answers:
            return (
                f"{key} gave no score to {all_}: no prompt has a reference answer; name its column in the data source's answer, or use "
                "a verifier that needs none, such as function or model"
            )
        return f"{key} gave no score to {all_}: it returned None each time; let it return a number, or take it out"
