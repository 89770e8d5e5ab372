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
        if not _parsed(*_found(tagged(example.answer), False)):
            raise ValueError(f"math-verify cannot parse the reference answer {example.answer!r:.80}")
        found = _found(tagged(spoken(completion, self.thinking)), self.boxed)
        return float(_equal(tagged(example.answer), *found, self.precision))

    def answer_key(self, completion: str, example: Example) -> str | None:
        return _key(*_found(tagged(spoken(completion, self.thinking)), self.boxed))

    def worked(self, example: Example) -> list[str]:
        """Of a sentence its expression; never of an answer by itself, of which no part may be taken for the whole."""
        if example.answer is None:
            return []
        answer = forms.alone(example.answer)
        if "\n" in answer or CUE.search(answer):
            answer = expression(answer) or answer
        return forms.worked(example, answer, self.thinking)


# The completions of a group have few different answers. Each is parsed, compared and spelled once, in whatever text it stands.


@lru_cache(maxsize=64)
def _found(text: str, boxed: bool) -> tuple[bool, str]:
    """Whether the answer in ``text`` has been found, and it; otherwise the part of the text in which math-verify may look for one."""
    answer = expression(text, boxed)
    if answer is not None:
        return True, answer
    return False, "" if boxed else without_box(text)[-LAST:]


@lru_cache(maxsize=1024)
def _parsed(whole: bool, text: str) -> list[Any]:
    """What math-verify reads in ``text``, which is nothing but an answer where it is ``whole``."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse  # type: ignore[import-untyped]

    if not computable(text):
        return []
    if whole:
        # LaTeX alone: where that cannot be parsed, the search for plain numbers would find a part of it.
        return list(parse(f"\\boxed{{{text}}}", [LatexExtractionConfig(boxed_match_priority=0)], **UNGUARDED))
    return list(parse(text, [LatexExtractionConfig(), ExprExtractionConfig()], **UNGUARDED)) if text else []


@lru_cache(maxsize=4096)
def _equal(reference: str, whole: bool, text: str, precision: int) -> bool:
    from math_verify import verify

    gold, answer = _parsed(*_found(reference, False)), _parsed(whole, text)
    return bool(verify(gold, answer, float_rounding=precision, timeout_seconds=None, raise_on_error=True))


@lru_cache(maxsize=4096)
def _key(whole: bool, text: str) -> str | None:
    answer = _parsed(whole, text)
    return str(answer[0]) if answer else None


UNGUARDED = {"parsing_timeout": None, "raise_on_error": True}
