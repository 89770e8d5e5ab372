"""The answer as a number."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from entropostat.data.example import Example
from entropostat.reward.patterns import check_pattern, find_answer
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.?\d+)?(?:[eE][-+]?\d+)?(?!\w)")


@VERIFIERS.register("numeric", paper="entropostat")
@dataclass(frozen=True, kw_only=True)
class Numeric(Verifier):
    """1 if the last number in the completion equals the reference number, within a tolerance."""

    tolerance: float = option(
        1e-6, low=0, fixed=True, doc="absolute, and relative to the reference where that is above 1"
    )
    answer_regex: str | None = option(None, doc="look for the number in the last match (first group) of this pattern")

    def __post_init__(self) -> None:
        check_pattern("verifier numeric", self.answer_regex)

    @property
    def isolated(self) -> bool:
        return self.answer_regex is not None  # a pattern of the user may backtrack for ever

    def score(self, completion: str, example: Example) -> float | None:
        if example.answer is None:
            return None
        wanted = last_number(example.answer)
        if wanted is None:
            raise ValueError(f"the reference answer {example.answer!r} holds no number")
        found = self._number(completion)
        return float(found is not None and abs(found - wanted) <= self.tolerance * max(1.0, abs(wanted)))

    def answer_key(self, completion: str, example: Example) -> str | None:
        found = self._number(completion)
        return None if found is None else f"{found:.12g}"

    def _number(self, completion: str) -> float | None:
        region = find_answer(completion, self.answer_regex)
        return None if region is None else last_number(region)


def last_number(text: str) -> float | None:
    """The last finite number: thousands commas, decimals and exponents are understood, words are not."""
    for match in reversed(list(NUMBER.finditer(text))):
        if any(c.isdigit() for c in match[0]):
            value = float(match[0].replace(",", ""))
            if math.isfinite(value):
                return value
    return None
