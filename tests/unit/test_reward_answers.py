"""Where an answer is looked for, and in time that grows with the text alone."""

from __future__ import annotations

import time

import pytest

from entropostat.data.example import Example
from entropostat.reward.answers import boxed, marked, spoken, tagged
from entropostat.reward.registry import VERIFIERS

READERS = {"numeric": "7", "math_verify": "7", "exact_match": "7"}


@pytest.mark.parametrize(
    ("text", "optional", "required", "counts"),
    [
        ("7", "7", "", "7"),
        ("<think>8</think>7", "7", "7", "<think>8</think>7"),
        ("<think>7", "", "", "<think>7"),
        ("8</think>7", "7", "7", "8</think>7"),
        ("<think>7</think>", "", "", "<think>7</think>"),
        ("7 <think> 8", "7 ", "", "7 <think> 8"),
        ("<think>1</think>7<think>8", "7", "7", "<think>1</think>7<think>8"),
        ("<think>a</think>b<think>c</think>7", "7", "7", "<think>a</think>b<think>c</think>7"),
    ],
)
def test_what_counts_of_a_text_with_thinking(text, optional, required, counts):
    assert [spoken(text, mode) for mode in ("optional", "required", "counts")] == [optional, required, counts]


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("<answer>7</answer>", "7"),
        ("8 <answer>7</answer> 9", "7"),
        ("<answer>8</answer><answer>7</answer>", "7"),
        ("<answer>7", "<answer>7"),
        ("7</answer>", "7</answer>"),
        ("7 <answer> </answer>", "7 <answer> </answer>"),
        ("</answer>7<answer>", "</answer>7<answer>"),
    ],
)
def test_the_last_closed_block_holds_the_answer(text, inside):
    assert tagged(text) == inside


@pytest.mark.parametrize("kind", ["numeric", "math_verify"])
def test_where_there_is_a_block_the_answer_stands_inside(kind):
    verifier, example = VERIFIERS.build(kind, {}), Example(prompt="p", answer="7")
    right = ("<think>8</think><answer>7</answer> 9", "<answer>\\boxed{7}</answer>", "\\boxed{8} <answer>\n7\n</answer>")
    wrong = ("7 <answer>8</answer>", "\\boxed{7} <answer>8</answer>", "<think><answer>7</answer></think>8")
    assert [verifier.score(text, example) for text in (*right, *wrong)] == [1.0] * 3 + [0.0] * 3
    solution = Example(prompt="p", answer="2 + 5 = 7, not 8.\n<answer>7</answer> 9")
    assert verifier.score("7", solution) == 1.0 and verifier.score("9", solution) == 0.0


@pytest.mark.parametrize("kind", READERS)
def test_an_answer_inside_an_unclosed_think_counts_only_where_it_is_asked_for(kind):
    example = Example(prompt="p", answer="7")
    inside = "<think>so \\boxed{7}" if kind != "exact_match" else "<think>7"
    options = {"answer_regex": r"(\d)"} if kind == "exact_match" else {}
    score = {
        mode: VERIFIERS.build(kind, {**options, "thinking": mode}).score(inside, example)
        for mode in ("optional", "required", "counts")
    }
    assert score == {"optional": 0.0, "required": 0.0, "counts": 1.0}
    assert VERIFIERS.build(kind, options).score(inside, example) == 0.0
    assert VERIFIERS.build(kind, options).score(f"{inside}</think>7", example) == 1.0
    assert VERIFIERS.build(kind, {**options, "thinking": "required"}).score("7", example) == 0.0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (r"\boxed{3}", "3"),
        (r"so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"$\boxed{2}$ and $\boxed{3}$", "2, 3"),
        (r"\boxed{2}\text{ or }\boxed{3}", "2, 3"),
        (r"\boxed{2} \boxed{3}", "3"),
        (r"\boxed{4} so it is \boxed{5}", "5"),
        (r"\boxed{4} so it is \boxed{5", "4"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{\left\{x\right.}", r"\left\{x\right."),
        (r"\boxed{a \\ b}", r"a \\ b"),
        (r"\boxed {5}", "5"),
        (r"\boxed{5} or \boxed{}", "5"),
        (r"\\boxed{5}", "5"),
        (r"\boxed 5.", "5"),
        (r"\boxedfoo{5}", None),
        (r"\boxed{5", None),
        ("5", None),
    ],
)
def test_what_the_last_box_holds(text, wanted):
    assert boxed(text) == wanted


def test_what_follows_the_last_mark():
    assert marked("#### 4\n#### 5 \nmore") == "5"
    assert marked("####\n 5") == "5"
    assert marked("5") is None and marked("####") is None


@pytest.mark.parametrize(
    "unit", ["\\boxed{", "{", "}", "\\", "\\boxed ", "\\boxed{1},", "{}", "####", "<think>", "</think>"]
)
def test_the_search_is_linear(unit):
    def seconds(size: int) -> float:
        text, times = unit * (size // len(unit)), []
        for _ in range(3):
            begin = time.process_time()
            boxed(text), marked(text), spoken(text, "optional")
            times.append(time.process_time() - begin)
        return min(times)

    assert seconds(80_000) < 4 * seconds(40_000) + 0.02
