"""Verifiers in the shape that TRL calls."""

from __future__ import annotations

from support.table import columns_of

from entropostat.data.example import Example
from entropostat.reward.calls import content
from entropostat.reward.judge import Outcome
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer

EXAMPLES = [
    Example(prompt="2*8+6\n", answer="2", meta={"modulus": 10}, id="a"),
    Example(prompt="1+1\n", answer="2", meta={"modulus": 10}, id="b"),
]


def scorer():
    return Scorer({"chain": VERIFIERS.build("chain", {"weight": 2.0}), "numeric": VERIFIERS.build("numeric", {})})


def test_reward_functions_have_names_and_weights():
    s = scorer()
    assert [f.__name__ for f in s.functions] == ["chain", "numeric"]
    assert s.weights == [2.0, 1.0]


def test_trl_names_a_reward_function_by_its_verifier_and_calls_it_in_this_thread():
    from trl.trainer.utils import get_callable_name, is_async_callable

    function = scorer().functions[0]
    assert get_callable_name(function) == "chain"
    assert not is_async_callable(function)


def test_string_completions_are_scored_from_the_dataset_columns_of():
    chain, numeric = scorer().functions
    arguments = columns_of(EXAMPLES) | {
        "completions": ["=2", "=3"],
        "completion_ids": [[1], [2]],
        "trainer_state": None,
    }
    assert chain(**arguments) == [1.0, 0.0]
    assert numeric(**arguments) == [1.0, 0.0]


def test_conversations_are_scored_like_their_text():
    chain = scorer().functions[0]
    said = [[{"role": "assistant", "content": "=2"}], [{"role": "assistant", "content": "=3"}]]
    assert chain(completions=said, **columns_of(EXAMPLES, system="Be brief.")) == [1.0, 0.0]


def test_content_is_the_last_word_of_the_assistant():
    turns = [
        {"role": "assistant", "content": "let me see"},
        {"role": "tool", "content": "7"},
        {"role": "assistant", "content": "=7"},
    ]
    assert content(turns) == "=7"
    assert content([{"role": "tool", "content": "7"}]) == ""


def test_problems_are_logged_as_metrics_of_each_call():
    s = Scorer({"number": VERIFIERS.build("numeric", {})})
    logged = []
    arguments = columns_of([Example(prompt="p", answer="no number", id="x"), Example(prompt="p", answer="1")])
    for _ in range(2):
        result = s.functions[0](completions=["1", "1"], log_metric=lambda *a: logged.append(a), **arguments)
        assert result == [None, 1.0]
    assert (
        logged
        == [("verifier/number/errors", 1.0), ("verifier/number/failed", 0.5), ("verifier/number/timeouts", 0.0)] * 2
    )
    assert s.problems["number"]["error"] == 2


def test_the_answer_key_of_a_completion_is_that_of_the_first_verifier_that_found_one():
    s = scorer()
    chain, numeric = s.functions
    assert s.answers == []
    for completions, keys in (
        (["it is 5", "=3"], ["5", "3"]),
        (["it is 5", "3"], ["5", "3"]),
        (["nothing", "none"], [None, None]),
    ):
        numeric(completions=completions, **columns_of(EXAMPLES))
        chain(completions=completions, **columns_of(EXAMPLES))
        assert s.answers == keys


def test_the_first_verifier_decides_in_evaluation():
    outcomes = scorer().verify(["=2", "2"], EXAMPLES)
    assert [o.right for o in outcomes] == [True, False]
    assert outcomes[0].strategy == "blurting"
    assert scorer().strategies() == ("working", "blurting")


def test_a_partial_score_is_not_right():
    rights = [Outcome(score=s).right for s in (None, 0.0, 0.99, 1.0, 1.5)]
    assert rights == [False, False, False, True, True]


def test_without_a_verifier_nothing_is_right_and_nobody_judges():
    scorer = Scorer({})
    assert scorer.judge() is None and not scorer.functions
    assert [outcome.right for outcome in scorer.verify(["1"], [Example("?", "1", {}, "a")])] == [False]
