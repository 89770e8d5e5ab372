"""The answer as a number."""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.data.example import Example
from entropostat.reward import forms
from entropostat.reward.answers import THINKING, Thinking, boxed, marked, spoken, tagged, without_box
from entropostat.reward.numbers import Number, last_number, only_number
from entropostat.reward.patterns import check_pattern, find_answer
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option


@VERIFIERS.register("numeric", paper="entropostat")
@dataclass(frozen=True, kw_only=True)
class Numeric(Verifier):
    """1 if the number in the completion equals the reference number, within a tolerance.

    The number is the one in the last ``\\boxed{}``, else behind the last ``####``, else the last: of the last ``<answer>`` block, or of
    the text where there is none. Decimals, thousands, powers of ten, fractions, mixed numbers, percent, currencies and units are
    read, in plain text and in LaTeX. What is no single number, such as ``2k+2``, ``3\\sqrt{2}`` or ``(1, 2)``, is no answer: no part
    of it counts. 50% equals 50 and 0.5.
    A number inside ``<think>`` is none either, unless ``thinking: counts``: a policy that is paid for it learns not to come to an end.
    """

    tolerance: float = option(
        1e-6, low=0, fixed=True, doc="absolute, and relative to the reference where that is above 1"
    )
    answer_regex: str | None = option(None, doc="look for the number in the last match (first group) of this pattern")
    thinking: Thinking = option("optional", doc=THINKING)  # noqa: RUF009

    def __post_init__(self) -> None:
        check_pattern("verifier numeric", self.answer_regex)

    @property
    def isolated(self) -> bool:
        return self.answer_regex is not None  # a pattern of the user may backtrack for ever

    def score(self, completion: str, example: Example) -> float | None:
        if example.answer is None:
            return None
        wanted = _reference(example.answer)
        if wanted is None:
            raise ValueError(f"the reference answer {example.answer!r:.80} is not a number")
        number = self._number(completion)
        return float(number is not None and number.equals(wanted, self.tolerance))

    def answer_key(self, completion: str, example: Example) -> str | None:
        number = self._number(completion)
        return None if number is None else f"{number.value:.12g}"

    def worked(self, example: Example) -> list[str]:
        if example.answer is None:
            return []
        answer = forms.alone(example.answer).rpartition("\n")[2]
        return forms.worked(example, answer, self.thinking, self.answer_regex)

    def _number(self, completion: str) -> Number | None:
        text = spoken(completion, self.thinking)
        if self.answer_regex is not None:
            region = find_answer(text, self.answer_regex)
            return None if region is None else last_number(region)
        text = tagged(text)
        region = boxed(text) or marked(text)
        return last_number(without_box(text)) if region is None else only_number(region)


def _reference(answer: str) -> Number | None:
    """Of a whole solution without a mark, the number of the last line."""
    answer = tagged(answer)
    lines = answer.strip().splitlines()
    return only_number(boxed(answer) or marked(answer) or (lines[-1] if lines else ""))
