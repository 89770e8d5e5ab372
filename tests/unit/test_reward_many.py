"""Several completions in one call, without a process between: the verdicts, their line, and what a function must look like."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropostat.data.example import Example
from entropostat.reward.judge import LARGEST, Outcome
from entropostat.reward.judge_many import judge_many
from entropostat.reward.signature import misfit, trl_columns
from entropostat.reward.verdicts import MOST, Forged, decoded_scores, encoded_scores
from entropostat.reward.verifier import Verifier


class Returns(Verifier):
    """Whatever it was made with."""

    learned = True

    def __init__(self, returned, **options):
        super().__init__(**options)
        object.__setattr__(self, "returned", returned)

    def scores(self, completions, examples, columns):
        return self.returned


def problems(returned, count=2, **options):
    outcomes = judge_many(Returns(returned, **options), ["a"] * count, [Example("p")] * count, {})
    assert len(outcomes) == count
    assert all((o.score is None) if o.problem else o.score is None or math.isfinite(o.score) for o in outcomes)
    return [outcome.problem for outcome in outcomes]


junk = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3) | st.binary(max_size=3) | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
)  # fmt: skip


@given(junk)
def test_whatever_is_returned_every_completion_has_an_outcome(returned):
    problems(returned)


def test_a_call_without_a_score_for_each_is_lost_whole():
    for returned in (None, 1.0, "ab", {1: 1, 2: 2}, {1.0, 2.0}, iter([1, 2]), [1.0], [1.0] * 3, b"ab"):
        assert problems(returned) == ["error", "error"]
    assert problems([1.0, None]) == problems((1, True)) == [None, None]


def test_a_score_beyond_what_its_largest_weight_leaves_is_lost():
    score = LARGEST / 10
    assert problems([score, 1.0]) == [None, None]
    assert problems([score, 1.0], weights={"a": -100.0}) == problems([score, 1.0], weight=100.0) == ["error", None]


@given(st.lists(st.none() | st.floats(-LARGEST, LARGEST) | st.just("lost"), max_size=8))
def test_honest_verdicts_arrive_as_they_were(given):
    lost = Outcome(problem="error", message="why")
    outcomes = [lost if score == "lost" else Outcome(score) for score in given]
    assert decoded_scores(encoded_scores(7, outcomes), 7, 1.0, len(given)) == outcomes


LINE = [7, [1.0, None], [1], "why"]
FORGED = {
    "another number": [8, *LINE[1:]],
    "true for a number": [True, *LINE[1:]],
    "too few": [7, [1.0], [], ""],
    "too many": [7, [1.0] * 3, [], ""],
    "no list": [7, 1.0, [], ""],
    "text": [7, ["1", None], [], ""],
    "true": [7, [True, None], [], ""],
    "a list": [7, [[1.0], None], [], ""],
    "beyond float32": [7, [1e300, None], [], ""],
    "a place that is none": [7, [1.0, None], [2], ""],
    "a place before the first": [7, [1.0, None], [-1], ""],
    "a half place": [7, [1.0, None], [0.5], ""],
    "a place that is text": [7, [1.0, None], ["0"], ""],
    "places without end": [7, [1.0, None], [0] * 3, ""],
    "a message that is none": [7, [1.0, None], [], None],
    "a message without end": [7, [1.0, None], [], "x" * 5000],
    "more": [*LINE, None],
    "an object": {"a": 1},
}


@pytest.mark.parametrize("kind", FORGED)
def test_what_is_no_verdict_on_the_call_is_none(kind):
    assert decoded_scores(json.dumps(LINE).encode(), 7, 1.0, 2)[1].problem == "error"
    with pytest.raises(Forged):
        decoded_scores(json.dumps(FORGED[kind]).encode(), 7, 1.0, 2)
    with pytest.raises(Forged):
        decoded_scores(b'[7, [NaN, null], [], ""]', 7, 1.0, 2)


def test_a_generation_of_any_size_fits_into_a_line():
    assert len(encoded_scores(10**9, [Outcome(-1.2345678901234567e-300)] * 32768)) < MOST


def test_a_function_is_called_by_its_form_alone():
    trl = lambda prompts, completions, **kwargs: None
    plain = lambda completion, example, scale=1: None
    assert misfit(trl, "trl", {}) is None and misfit(lambda **columns: None, "trl", {}) is None
    assert all("set form: trl" in str(misfit(trl, form, {})) for form in ("single", "batch", "group"))
    assert misfit(plain, "single", {"scale": 2}) is None and "skale" in str(misfit(plain, "single", {"skale": 2}))
    assert "add **kwargs" in str(misfit(plain, "trl", {}))
    assert "cannot be called as" in str(misfit(lambda completion: None, "batch", {}))
    assert misfit(dict.fromkeys, "single", {}) is None


def test_columns_are_those_of_the_examples_and_nobody_s_name_is_taken():
    examples = [
        Example("p", "1", {"level": 3, "answer": "no", "prompts": []}, "x", "a"),
        Example("q", None, {}, "y", "b"),
    ]
    columns = trl_columns(examples, {"completion_ids": [[1], [2]], "trainer_state": {"global_step": 4}})
    assert columns["level"] == [3, None] and columns["answer"] == ["1", None] and columns["source"] == ["a", "b"]
    assert columns["trainer_state"].global_step == 4 and columns["completion_ids"] == [[1], [2]]
    assert "prompts" not in columns and trl_columns(examples, {})["trainer_state"].global_step == 0
