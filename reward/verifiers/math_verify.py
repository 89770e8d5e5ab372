"""Mathematical equivalence, by the math-verify library."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from entropostat.data.example import Example
from entropostat.reward import forms
from entropostat.reward.answers import THINKING, Thinking, spoken, tagged, without_box
from entropostat.reward.expressions import CUE, LAST, expression
from entropostat.reward.magnitude import computable
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option

# It warns on every parse that its own time-outs are off, which they are on purpose (see below).
logging.getLogger("math_verify").setLevel(logging.ERROR)


@VERIFIERS.register("math_verify", paper="https://github.com/huggingface/Math-Verify")
@dataclass(frozen=True, kw_only=True)
class MathVerify(Verifier):
    """1 if the completion's answer is mathematically equal to the reference (LaTeX or plain).

    The answer is in the last ``\\boxed{}``, else behind the last ``####``, else at the end: of the last ``<answer>`` block, or of the text
    where there is none. A reference is read alike, and whole: ``3\\sqrt{13}`` is never its first number. What stands inside
    ``<think>`` is no answer, unless ``thinking: counts``: a policy that is paid for it learns not to come to an end. math-verify's own time-outs are off: they count a hang as a wrong
    answer and would hide it. The worker's time-out applies instead. A number too large to write out, such as 10^{999999999}, is no answer.
    """

    precision: int = option(6, low=0, high=15, doc="decimals to which floats are compared")
    boxed: bool = option(False, doc="only an answer in \\boxed{...} counts")
    thinking: Thinking = option("optional", doc=THINKING)  # noqa: RUF009

    libraries: ClassVar[tuple[str, ...]] = ("math_verify",)

    @property
    def isolated(self) -> bool:
        return True  # sympy can take for ever on adversarial expressions

    def score(self, completion: str, example: Example) -> float | None:
        if example.answer is None:
            return None
        from math_verify import verify  # type: ignore[import-untyped]

        gold = _reference(example.answer)
        if not gold:
            raise ValueError(f"math-verify cannot parse the reference answer {example.answer!r:.80}")
        answer = _parse(tagged(spoken(completion, self.thinking)), self.boxed)
        equal = verify(gold, answer, float_rounding=self.precision, timeout_seconds=None, raise_on_error=True)
        return float(equal)

    def answer_key(self, completion: str, example: Example) -> str | None:
        answer = _parse(tagged(spoken(completion, self.thinking)), self.boxed)
        return str(answer[0]) if answer else None

    def worked(self, example: Example) -> list[str]:
        """Of a sentence its expression; never of an answer by itself, of which no part may be taken for the whole."""
        if example.answer is None:
            return []
        answer = forms.alone(example.answer)
        if "\n" in answer or CUE.search(answer):
            answer = expression(answer) or answer
        return forms.worked(example, answer, self.thinking)


@lru_cache(maxsize=4096)
def _reference(answer: str) -> list[Any]:
    return _parse(tagged(answer), False)


@lru_cache(maxsize=64)
def _parse(text: str, boxed: bool) -> list[Any]:
    """What math-verify reads in ``text``. Cached, because the score and the answer key need the same parse."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    answer = expression(text, boxed)
    if not computable(without_box(text)[-LAST:] if answer is None else answer):
        return []
    if answer is not None:
        # LaTeX alone: where that cannot be parsed, the search for plain numbers would find a part of it.
        return list(parse(f"\\boxed{{{answer}}}", [LatexExtractionConfig(boxed_match_priority=0)], **UNGUARDED))
    if boxed:
        return []
    return list(parse(without_box(text)[-LAST:], [LatexExtractionConfig(), ExprExtractionConfig()], **UNGUARDED))


UNGUARDED = {"parsing_timeout": None, "raise_on_error": True}
