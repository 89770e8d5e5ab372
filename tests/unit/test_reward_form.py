"""Verifiers of form, and TRL's reward functions by name."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropostat.data.example import Example
from entropostat.recipe import load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.lints import lints
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer

each = pytest.mark.parametrize
EXAMPLE = Example(prompt="p", answer="1/2")
WELL = "<think>\nso\n</think>\n<answer>\n1/2\n</answer>"
OPEN_R1 = re.compile(r"^<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>$", re.DOTALL | re.MULTILINE)
PARTS = ["<think>", "</think>", "<answer>", "</answer>", "\n", "\n", "x", " "]
texts = st.one_of(
    st.lists(st.sampled_from(PARTS), max_size=14).map("".join),
    st.tuples(*[st.sampled_from(["", "\n", "x\n", "\n</think>\n<answer>\n"])] * 3).map(
        lambda p: f"<think>\n{p[0]}\n</think>\n<answer>\n{p[1]}\n</answer>{p[2]}"
    ),
)


def score(kind, text, **options):
    return VERIFIERS.build(kind, options).score(text, EXAMPLE)


@each(
    "text, strict, loose",
    [
        (WELL, 1, 1),
        (WELL + "\n \n", 1, 1),
        ("<think>\n\n</think>\n<answer>\n\n</answer>", 1, 1),  # nothing was thought
        ("<think>so</think><answer>1/2</answer>", 0, 1),
        (" <think>so</think> \n\n<answer>1/2</answer>\n", 0, 1),
        ("\n" + WELL, 0, 1),
        ("<think>\n</think>\n<answer>\n1\n</answer>", 0, 1),  # both breaks are one
        (WELL + "\nand more", 0, 0),
        ("well, " + WELL, 0, 0),
        (WELL + WELL, 0, 0),
        ("<think>\n<think>\nso\n</think>\n<answer>\n1\n</answer>", 0, 0),
        ("<answer>\n1\n</answer>\n<think>\nso\n</think>", 0, 0),
        ("<think>\nso\n<answer>\n1\n</answer>\n</think>", 0, 0),
        ("<think>\nso\n<answer>\n</think>\n1\n</answer>", 0, 0),
        ("<think>\nso\n</think>\nthen\n<answer>\n1\n</answer>", 0, 0),
        ("<think>\nso\n</think>\n<answer>\n1\n", 0, 0),
        ("", 0, 0),
    ],
)
def test_a_well_formed_completion_is_its_blocks_once_in_order_and_nothing_else(text, strict, loose):
    assert score("format", text) == strict
    assert score("format", text, line_breaks=False) == loose


def test_a_prompt_may_have_opened_the_first_block():
    rest = WELL.removeprefix("<think>\n")
    assert (
        score("format", rest) == 0
        and score("format", rest, opened=True) == 1
        and score("format", WELL, opened=True) == 0
    )
    assert score("format", "\n</think>\n<answer>\n1\n</answer>", opened=True) == 1
    assert score("format", rest, opened=True, partial=True) == 1


@each("tags", [["a"], ["plan", "think", "answer"]])
def test_blocks_have_the_names_of_the_recipe(tags):
    text = "\n".join(f"<{tag}>\nx\n</{tag}>" for tag in tags)
    for reference in (False, True):
        assert score("format", text, tags=tags, reference=reference) == 1 and score("format", WELL, tags=tags) == 0
    assert score("tag_count", text, tags=tags) == 1.0


@settings(max_examples=400, deadline=None, derandomize=True)
@given(text=texts)
def test_reference_is_the_pattern_of_open_r1_and_the_default_never_takes_more(text):
    released = score("format", text, reference=True)
    assert released == float(OPEN_R1.match(text) is not None)
    assert score("format", text) <= released


@settings(max_examples=400, deadline=None, derandomize=True)
@given(text=texts)
def test_a_quarter_for_each_tag_that_stands_once(text):
    """As open-r1 counts them."""
    tags = ["<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>"]
    assert score("tag_count", text) == sum(0.25 for tag in tags if text.count(tag) == 1)
    assert score("format", text, partial=True) == score("tag_count", text)
    bare = sum(0.25 for tag in ("<think>", "</think>", "<answer>", "</answer>") if text.count(tag) == 1)
    assert score("tag_count", text, line_breaks=False) == bare


def test_a_pattern_of_ones_own_begins_with_the_completion_and_reads_lines():
    assert score("format", WELL + "\nmore", regex=OPEN_R1.pattern) == 1
    assert score("format", " " + WELL, regex=OPEN_R1.pattern) == 0
    assert VERIFIERS.build("format", {"regex": "x"}).isolated and not VERIFIERS.build("format", {}).isolated


def test_a_pattern_that_backtracks_for_ever_costs_its_completion_and_no_more():
    scorer = Scorer({"form": VERIFIERS.build("format", {"regex": r"(a+)+$", "timeout": 0.5})}, workers=1)
    scorer.check()
    began = time.monotonic()
    outcomes = scorer.score("form", ["a" * 40 + "!", "aa", "b"], [EXAMPLE] * 3)
    scorer.close()
    assert [o.score for o in outcomes] == [None, 1.0, 0.0] and outcomes[0].problem == "timeout"
    assert time.monotonic() - began < 20


@each(
    "kind, options, said",
    [
        ("format", {"regex": "("}, r"regex '\(' is not a regular expression"),
        ("format", {"regex": "a{99999999999}"}, "repetition number is too large"),
        ("format", {"regex": "a", "partial": True}, "leave out opened, partial and reference"),
        ("format", {"reference": True, "line_breaks": False}, "leave out partial and line_breaks"),
        ("format", {"tags": ["<think>"]}, "is no name; write think"),
        ("tag_count", {"tags": []}, "is empty"),
        ("tag_count", {"tags": ["a", "b", "a"]}, "a stands twice"),
        ("tag_count", {"tags": ["(a+)+"]}, "is no name; give"),
        ("trl", {"function": "acuracy_reward"}, "did you mean 'accuracy_reward'"),
        ("trl", {"function": "get_cosine_scaled_rewards"}, "did you mean 'get_cosine_scaled_reward'"),
        ("trl", {"function": "get_repetition_penalty_reward"}, "objective.rewards: repetition"),
        ("trl", {"function": "accuracy_reward", "reasoning_delimiters": ["x"]}, "leave it out"),
        ("trl", {"function": "reasoning_accuracy_reward", "reasoning_delimiters": []}, "one of them is empty"),
    ],
)
def test_what_cannot_be_meant_is_one_line_with_its_fix(kind, options, said):
    with pytest.raises(ValueError, match=said) as caught:
        VERIFIERS.build(kind, options)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"verifier {kind}")


def test_every_function_of_trl_is_a_verifier_or_has_its_term():
    from trl import rewards

    from entropostat.reward.verifiers.trl import FUNCTIONS, TERMS

    names = {name for names in rewards._import_structure.values() for name in names}
    assert {*FUNCTIONS, *TERMS} == names


SAID = [
    WELL,
    "so $\\boxed{\\frac{1}{2}}$",
    "<think>$\\boxed{3}$</think> it is $\\boxed{0.5}$",
    "$\\boxed{2}$</end>\\boxed{1/2}",
    "",
]


def test_functions_of_trl_score_as_trl_does_and_in_a_worker():
    from trl import rewards

    delimiters = {"reasoning_delimiters": ["</end>"]}
    cases = {
        name: ({}, getattr(rewards, name))
        for name in ("accuracy_reward", "reasoning_accuracy_reward", "think_format_reward")
    }
    cases["own"] = (delimiters, lambda **given: rewards.reasoning_accuracy_reward(**given, **delimiters))
    functions = {name: "reasoning_accuracy_reward" if name == "own" else name for name in cases}
    verifiers = {name: VERIFIERS.build("trl", {"function": functions[name], **cases[name][0]}) for name in cases}
    scorer = Scorer(verifiers, workers=1)
    scorer.check()
    assert all(verifier.isolated for verifier in verifiers.values()) and scorer.judge() == "accuracy_reward"
    seen = set()
    for name, (_, call) in cases.items():
        wanted = call(
            completions=[[{"role": "assistant", "content": text}] for text in SAID], solution=["1/2"] * len(SAID)
        )
        assert [o.score for o in scorer.score(name, SAID, [EXAMPLE] * len(SAID))] == wanted
        assert [verifiers[name].score(text, EXAMPLE) for text in SAID] == wanted
        seen.add(tuple(wanted))
    assert len(seen) == 4 and all(0.0 in row and 1.0 in row for row in seen)
    for name, wanted in (("accuracy_reward", None), ("own", None), ("think_format_reward", 0.0)):
        assert verifiers[name].score("x", Example(prompt="p", answer=None)) == wanted
    scorer.close()


FORM = {"form": ("format", {}), "tags": ("tag_count", {}), "think": ("trl", {"function": "think_format_reward"})}
TASK = {"exact": ("exact_match", {}), "model": ("model", {"path": "m"}), "own": ("function", {"path": "a:b"})}


@each(
    "names, wanted",
    [
        (["form", "exact"], "exact"),
        (["tags", "think", "own", "exact"], "own"),
        (["model", "think", "exact"], "exact"),
        (["exact", "form"], "exact"),
        (["model", "form", "tags"], "form"),
        (["model"], None),
    ],
)
def test_what_judges_form_decides_what_is_right_only_where_nothing_else_can(names, wanted):
    verifiers = {name: VERIFIERS.build(*{**FORM, **TASK}[name]) for name in names}
    assert Scorer(verifiers, allow_code=True).judge() == wanted
    assert [v.compares for v in verifiers.values()] == [name == "exact" for name in names]


def found(*overrides):
    recipe = load("recipes/quickstart/plain.yaml", overrides)
    return {
        (x.level, x.key)
        for x in lints(recipe, arithmetic(recipe))
        if x.key.startswith(("reward.", "objective.rewards"))
    }


def test_plan_says_where_form_counts_as_right():
    both, terms = "reward=[format: {}, chain: {}]", "objective.rewards=[pear: {}, group_length: {}]"
    assert found(both, terms) == {("warning", "objective.rewards.pear.success")}
    assert found("reward=[format: {weight: 0.5}, chain: {}]", terms) == set()
    assert found(both, "objective.rewards=[pear: {success: 1}, group_length: {right: sum, success: 1}]") == set()
    assert found(both, "objective.rewards=[group_length: {right: sum}]") == {
        ("warning", "objective.rewards.group_length.success")
    }
    assert found("reward=[format: {}]", terms) == {("note", "reward.format")}
    assert found("reward=[trl: {function: think_format_reward}, tag_count: {}]") == {("note", "reward.trl")}
    assert found("reward=[trl: {function: accuracy_reward}]") == set()


def test_plan_says_where_a_length_is_never_reached():
    at = lambda terms: found(f"objective.rewards=[{terms}]")
    assert at("overlong: {buffer: 8}, length_cosine: {}") == set()
    assert at("overlong: {buffer: 8, max_length: 22}") == {("warning", "objective.rewards.overlong.max_length")}
    assert at("overlong: {buffer: 21}") == {("warning", "objective.rewards.overlong.buffer")}
    assert at("length_cosine: {max_length: 1000}") == {("warning", "objective.rewards.length_cosine.max_length")}
    assert at("length_cosine: {max_length: 1000, reference: true}") == set()  # of characters
