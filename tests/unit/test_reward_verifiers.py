"""What each verifier takes for right."""

from __future__ import annotations

import subprocess
import sys

import pytest

from entropostat.data.example import Example
from entropostat.data.registry import SOURCES
from entropostat.reward.judge import judge
from entropostat.reward.registry import VERIFIERS


def score(name, options, completion, answer, **fields):
    return VERIFIERS.build(name, options).score(completion, Example(prompt="p", answer=answer, **fields))


@pytest.mark.parametrize(
    "options, completion, answer, wanted",
    [
        ({}, " Paris\n", "Paris", 1.0),
        ({}, "paris", "Paris", 0.0),
        ({"case": False}, "pARIS", "Paris", 1.0),
        ({"answer_regex": r"answer: (\w+)"}, "answer: B. No, answer: C", "C", 1.0),
        ({"answer_regex": r"answer: (\w+)"}, "C", "C", 0.0),
        ({}, "x", None, None),
    ],
)
def test_exact_match(options, completion, answer, wanted):
    assert score("exact_match", options, completion, answer) == wanted


@pytest.mark.parametrize(
    "completion, answer, wanted",
    [
        ("so 3 + 4 = 7", "7", 1.0),
        ("7 or maybe 8", "7", 0.0),
        ("it is 1,234.50.", "1234.5", 1.0),
        ("-3", "3", 0.0),
        ("2.5e3", "2500", 1.0),
        ("no number", "7", 0.0),
        ("1e999", "7", 0.0),
        ("1000000.5", "1000000", 1.0),
        ("1000002", "1000000", 0.0),
    ],
)
def test_numeric(completion, answer, wanted):
    assert score("numeric", {}, completion, answer) == wanted


def test_numeric_answer_keys_agree_for_equal_numbers():
    numeric = VERIFIERS.build("numeric", {})
    example = Example(prompt="p", answer="1")
    keys = {numeric.answer_key(text, example) for text in ("1,000", "1000.0", "it is 1e3")}
    assert keys == {"1000"}
    assert numeric.answer_key("none", example) is None


@pytest.mark.parametrize(
    "completion, wanted",
    [
        ("$\\frac{1}{2}$", 1.0),
        ("the answer is 0.5", 1.0),
        ("$\\frac{2}{4}$", 1.0),
        ("$\\frac{1}{3}$", 0.0),
        ("no idea", 0.0),
    ],
)
def test_math_verify(completion, wanted):
    assert score("math_verify", {}, completion, "1/2") == wanted


def test_math_verify_boxed_wants_a_box():
    assert score("math_verify", {"boxed": True}, "$\\frac12$", "\\frac{1}{2}") == 0.0
    assert score("math_verify", {"boxed": True}, "so \\boxed{\\frac12}", "\\frac{1}{2}") == 1.0


def test_math_verify_answer_keys_agree_for_equal_answers():
    verifier = VERIFIERS.build("math_verify", {})
    example = Example(prompt="p", answer="1/2")
    assert verifier.answer_key("$\\frac{1}{2}$", example) == verifier.answer_key("it is 1/2", example)


def test_math_verify_reference_that_cannot_be_parsed_is_an_error():
    assert judge(VERIFIERS.build("math_verify", {}), "1", Example(prompt="p", answer="")).problem == "error"


@pytest.mark.parametrize(
    "completion, wanted, strategy",
    [
        ("=6", 1.0, "blurting"),
        ("=7", 0.0, "blurting"),
        (":2*8=6+6=2+4=6", 1.0, "working"),
        (":2*8=1+6=1+4=6", 1.0, "working"),  # only the end counts
        (":2*8=6+6=2+4=5", 0.0, "working"),
        (":2*8=6+4=6", 0.0, "working"),  # a step is missing
        ("=6=6", 0.0, "blurting"),
        ("6", 0.0, None),
        ("", 0.0, None),
        ("=6\n", 0.0, "blurting"),
    ],
)
def test_chain(completion, wanted, strategy):
    verifier = VERIFIERS.build("chain", {})
    example = Example(prompt="2*8+6+4\n", answer="6", meta={"modulus": 10})
    assert verifier.score(completion, example) == wanted
    assert verifier.strategy(completion, example) == strategy


def test_chain_reads_the_question_of_a_conversation():
    prompt = [{"role": "system", "content": "Compute."}, {"role": "user", "content": "2*8\n"}]
    assert VERIFIERS.build("chain", {}).score(":2*8=6", Example(prompt=prompt, answer="6")) == 1.0


def test_reasoning_gym_scores_its_own_answers_and_applies_the_threshold():
    examples = SOURCES.build("reasoning_gym", {"task": "countdown", "size": 3, "seed": 5}).load()
    partial = VERIFIERS.build("reasoning_gym", {})
    strict = VERIFIERS.build("reasoning_gym", {"threshold": 1.0})
    for example in examples:
        assert partial.score(example.answer, example) == 1.0
        assert strict.score(example.answer, example) == 1.0
        assert 0 < partial.score("1 + 1", example) < 1
        assert strict.score("1 + 1", example) == 0.0


def test_reasoning_gym_refuses_examples_of_another_source_or_version():
    verifier = VERIFIERS.build("reasoning_gym", {})
    example = SOURCES.build("reasoning_gym", {"task": "chain_sum", "size": 1}).load()[0]
    assert "does not come from" in judge(verifier, "1", Example(prompt="p", answer="1")).message
    assert "another question" in judge(verifier, "1", Example(prompt="p", answer="1", meta=example.meta)).message


def test_reasoning_gym_examples_are_generated_alike_in_another_process():
    code = (
        "from entropostat.data.registry import SOURCES\n"
        "for task in ('chain_sum', 'countdown', 'family_relationships', 'zebra_puzzles'):\n"
        "    print([e.id for e in SOURCES.build('reasoning_gym', {'task': task, 'size': 2}).load()])\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("name", ["exact_match", "numeric", "reasoning_gym"])
def test_bad_pattern_is_one_clear_error(name):
    with pytest.raises(ValueError, match=r"verifier \w+: answer_regex '\(' is not a regular expression"):
        VERIFIERS.build(name, {"answer_regex": "("})


def test_a_pattern_of_the_user_runs_in_a_worker():
    assert VERIFIERS.build("exact_match", {"answer_regex": "(a+)+$"}).isolated
    assert not VERIFIERS.build("exact_match", {}).isolated


def test_function_path_must_name_module_and_attribute():
    with pytest.raises(ValueError, match="module:attribute"):
        VERIFIERS.build("function", {"path": "my_rewards.score"})
