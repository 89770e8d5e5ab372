"""math_verify takes answers and references whole, wherever they stand."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest
from support.shared_rows import rows
from unit.answer_rows import ROWS

from entropostat.data.example import Example
from entropostat.reward.registry import VERIFIERS

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
ALIKE = re.compile(r"\^\{?\\circ|_\{?\d|\\(?:text|mbox)|^\$?\d+m\$?$|^\$?[a-z]=")
"""Degrees, bases, units and ``k = 3``, whose number math-verify takes for all of it."""


def judged(completion: str, reference: str, **options: object) -> float | None:
    return VERIFIERS.build("math_verify", options).score(completion, Example(prompt="p", answer=reference))


@pytest.mark.parametrize(("reference", "same", "other"), ROWS, ids=[row[0] for row in ROWS])
def test_what_means_the_same_is_right_and_a_part_of_it_is_wrong(reference, same, other):
    for answer in (reference, *same):
        assert judged(f"So we get \\boxed{{{answer}}}.", reference) == 1.0, answer
        assert judged(answer, reference) == 1.0, answer
        assert judged(f"We add them.\n#### {answer}", reference) == 1.0, answer
    for answer in other:
        for form in ("\\boxed{{{}}}", "{}", "The answer is {}."):
            assert judged(form.format(answer), reference) == 0.0, (form, answer)


@pytest.mark.parametrize(("reference", "same", "other"), ROWS, ids=[row[0] for row in ROWS])
def test_a_whole_solution_is_as_good_a_reference_as_its_answer(reference, same, other):
    solutions = [
        f"We see that $2+2=4$, so it is $\\boxed{{{reference}}}$ in all.",
        f"2 + 2 = <<2+2=4>>4\n#### {reference}",
    ]
    for solution in solutions:
        assert judged(f"\\boxed{{{same[0]}}}", solution) == 1.0
        assert judged(f"\\boxed{{{other[0]}}}", solution) == 0.0


def test_every_reference_of_public_sets_is_right_boxed_and_bare_and_its_first_number_wrong():
    references = [row["answer"] for row in rows("math_references.jsonl")]
    wrong, parts = Counter(), []
    for reference in references:
        for form in ("so \\boxed{{{}}}.", "{}", "Hence the answer is {}.", "1 + 1 = 2\n#### {}"):
            wrong[form] += judged(form.format(reference), reference) != 1.0
        number = NUMBER.search(reference)
        if number and number[0] != reference.strip("$"):
            parts += [reference for form in ("\\boxed{{{}}}", "{}") if judged(form.format(number[0]), reference) != 0.0]
    assert not +wrong and len(references) == 400
    assert all(ALIKE.search(part) for part in parts) and len(parts) <= 22, sorted(set(parts))


def test_gsm8k_is_read_in_every_form():
    for row in rows("gsm8k_test_400.jsonl")[:100]:
        answer = row["answer"].split("####")[1].strip()
        for completion in (row["answer"], f"The answer is {answer}.", f"\\boxed{{\\${answer}}}", f"**{answer}**"):
            assert judged(completion, row["answer"]) == judged(completion, answer) == 1.0, completion
        assert judged(f"\\boxed{{{answer}1}}", row["answer"]) == 0.0


@pytest.mark.parametrize(
    ("completion", "reference"),
    [
        (r"First \boxed{4}, no: \boxed{5}.", "5"),
        (r"$\boxed{2}$ or $\boxed{3}$", "2, 3"),
        (r"$x=\boxed{2}$ and $x=\boxed{3}$", "2, 3"),
        (r"\boxed{2}, \boxed{2}", "2"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed 7.", "7"),
        (r"\boxed{$7$}", "7"),
        (r"\fbox{7}", "7"),
        (r"Put it in \boxed{}. The answer is 7.", "7"),
        (r"\boxed{7}. Check: 3 + 5 = 8", "7"),
        ("The final answer is $7$. I hope it is correct.\n", "7"),
        ("Answer: 7\n\nIndeed 3 + 4 = 7, and 8 is too much: 8", "7"),
        (r"The answer is $\frac{1}{2}$, as 1 + 1 = 2.", "0.5"),
        (r"so \[ x = 3\sqrt{2} \]", r"3\sqrt{2}"),
        ("There are 18 eggs.", "18"),
    ],
)
def test_the_answer_is_found(completion, reference):
    assert judged(completion, reference) == 1.0


@pytest.mark.parametrize(
    ("completion", "reference"),
    [
        (r"\boxed{4} and then \boxed{5}", "4"),
        (r"\boxed{1}, \boxed{2}, \boxed{3}", "2"),
        (r"\boxed{\foo 5}", "5"),
        (r"the answer is 3\sqrt{13} units", "3"),
        (r"\boxed{}", "5"),
        (r"\boxed{5", "5"),
        ("", "5"),
    ],
)
def test_what_is_not_the_answer_does_not_count(completion, reference):
    assert judged(completion, reference) == 0.0


def test_only_a_box_counts_where_boxed_is_asked_for():
    assert judged("$7$", "7", boxed=True) == judged("#### 7", "7", boxed=True) == 0.0
    assert judged(r"\boxed{7}", "7", boxed=True) == 1.0


@pytest.mark.parametrize(
    "unit", ["9", "9 ", "1,", "(", "\\boxed{", "\\sqrt{", "answer is ", "$", "1+", "#### 5\n", "\\[ "]
)
def test_twice_the_text_takes_less_than_four_times_as_long(unit):
    def seconds(size: int) -> float:
        times = []
        for end in "abc":  # different answers, because a parse and a comparison are kept
            begin = time.process_time()
            judged(unit * (size // len(unit)) + f"{end}{size}", "7")
            times.append(time.process_time() - begin)
        return min(times)

    seconds(1000)
    assert seconds(64_000) < 4 * seconds(32_000) + 0.05


def test_answers_that_mean_the_same_have_one_key():
    verifier, example = VERIFIERS.build("math_verify", {}), Example(prompt="p", answer="1/2")
    keys = {
        verifier.answer_key(text, example) for text in (r"$\frac{1}{2}$", "it is 1/2", r"\boxed{\frac12}", "#### 1/2")
    }
    assert len(keys) == 1
