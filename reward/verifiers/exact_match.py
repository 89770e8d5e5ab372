"""The answer as a text."""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.data.example import Example
from entropostat.reward import forms
from entropostat.reward.answers import THINKING, Thinking, spoken
from entropostat.reward.patterns import check_pattern, find_answer
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option


@VERIFIERS.register("exact_match", paper="entropostat")
@dataclass(frozen=True, kw_only=True)
class ExactMatch(Verifier):
    """1 if the answer equals the reference after stripping white space."""

    case: bool = option(True, doc="upper and lower case differ")
    answer_regex: str | None = option(None, doc="the answer is the last match (first group); default: the whole text")
    thinking: Thinking = option("optional", doc=THINKING)  # noqa: RUF009

    def __post_init__(self) -> None:
        check_pattern("verifier exact_match", self.answer_regex)

    @property
    def isolated(self) -> bool:
        return self.answer_regex is not None  # a pattern of the user may backtrack for ever

    def score(self, completion: str, example: Example) -> float | None:
        if example.answer is None:
            return None
        return float(self.answer_key(completion, example) == self._fold(example.answer.strip()))

    def answer_key(self, completion: str, example: Example) -> str | None:
        answer = find_answer(spoken(completion, self.thinking), self.answer_regex)
        return None if answer is None else self._fold(answer)

    def worked(self, example: Example) -> list[str]:
        """Of a whole solution the answer alone: nobody will repeat the rest word for word."""
        if example.answer is None:
            return []
        return forms.worked(example, forms.alone(example.answer), self.thinking, self.answer_regex)

    def _fold(self, text: str) -> str:
        return text if self.case else text.casefold()
