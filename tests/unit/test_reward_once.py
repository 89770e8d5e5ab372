"""Equal completions of an example are judged once, and equal answers in different texts are compared once."""

from __future__ import annotations

from typing import ClassVar

import math_verify
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropostat.data.example import Example
from entropostat.reward.calls import calls_of
from entropostat.reward.judge import judge
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifier import Verifier
from entropostat.reward.verifiers import math_verify as ours


class Counting(Verifier):
    """How long the completion is, and how often it was asked."""

    asked: ClassVar[list[str]] = []

    def score(self, completion, example):
        self.asked.append(completion)
        if completion == "raise":
            raise ValueError("on purpose")
        return float(len(completion)) + 100 * float(example.answer or 0)

    def answer_key(self, completion, example):
        return completion


rows = st.lists(
    st.tuples(st.sampled_from(["a", "bb", "raise"]), st.sampled_from("12"), st.sampled_from("xy")), max_size=12
)


@given(rows)
def test_each_of_the_different_ones_is_judged_once_and_every_row_has_its_verdict(drawn):
    verifier, texts = Counting(), [text for text, _, _ in drawn]
    # New objects, as they come from a table.
    asked = [Example(["p", "q"], answer, {"n": [1]}, name) for _, answer, name in drawn]
    scorer = Scorer({"mine": verifier})
    Counting.asked.clear()
    outcomes = scorer.score("mine", texts, asked)
    assert len(Counting.asked) == len(set(drawn))
    assert [o.score for o in outcomes] == [None if t == "raise" else len(t) + 100 * float(a) for t, a, _ in drawn]
    assert [o.answer for o in outcomes] == [None if t == "raise" else t for t in texts]
    assert scorer.problems["mine"]["error"] == texts.count("raise")


def test_examples_that_differ_in_anything_are_different():
    base = {"prompt": "p", "answer": "1", "meta": {"n": 1}, "id": "x", "source": "a"}
    others = [{"prompt": "q"}, {"answer": "2"}, {"meta": {"n": 2}}, {"id": "y"}, {"source": "b"}]
    examples = [Example(**{**base, **other}) for other in ({}, {}, *others)]
    calls = calls_of(Counting(), ["t"] * len(examples), examples, ())
    assert [list(call.rows[0]) for call in calls] == [[0, 1], *([place] for place in range(2, len(examples)))]


@pytest.fixture
def compared(monkeypatch):
    """The answers that math-verify has compared."""
    for cache in (ours._found, ours._parsed, ours._equal, ours._key):
        cache.cache_clear()
    seen: list[str] = []
    verify, parse = math_verify.verify, math_verify.parse
    monkeypatch.setattr(math_verify, "verify", lambda *a, **k: seen.append("verify") or verify(*a, **k))
    monkeypatch.setattr(math_verify, "parse", lambda *a, **k: seen.append("parse") or parse(*a, **k))
    return seen


def test_the_answers_of_a_group_are_parsed_and_compared_once_each(compared):
    verifier, asked = VERIFIERS.build("math_verify", {}), Example("p", r"\frac{1}{2}", {}, "x")
    answers = [r"\frac{1}{2}", "0.5", "7"]
    outcomes = [judge(verifier, f"{'so ' * i}it is \\boxed{{{answers[i % 3]}}}", asked) for i in range(16)]
    assert [o.score for o in outcomes] == [float(i % 3 < 2) for i in range(16)]
    assert compared.count("verify") == 3 and compared.count("parse") == 3
    assert {o.answer for o in outcomes} == {"1/2", "7"}


def test_another_reference_or_precision_is_another_comparison(compared):
    found = [
        judge(VERIFIERS.build("math_verify", {"precision": digits}), r"\boxed{0.333}", Example("p", reference)).score
        for digits in (2, 6)
        for reference in ("1/3", "0.333", "0.25")
    ]
    assert found == [1.0, 1.0, 0.0, 0.0, 1.0, 0.0] and compared.count("verify") == 6
