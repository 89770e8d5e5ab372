"""Which number a text gives as its answer; never a part of something else."""

from __future__ import annotations

import time

import pytest
from support.shared_rows import rows

from entropostat.data.example import Example
from entropostat.reward.judge import judge
from entropostat.reward.numbers import last_number, only_number
from entropostat.reward.registry import VERIFIERS

READ = {
    "so 3 + 4 = 7": 7, "7 or maybe 8": 8, "it is 1,234.50.": 1234.5, "x=-3": -3, "x = - 3": -3, "x=.5": 0.5, "3.": 3, "007": 7,
    "18 eggs in 2 baskets.": 2, "18 (3 bags)": 3, "18 (eighteen)": 18, "(18)": 18, "1, 2 and 3": 3, "page 5.": 5, "18!": 18,
    "a 3rd of it: 18": 18, "18 on the 3rd": 18, "x1 is 18": 18, "答案是18。": 18, "18岁": 18, "18-year-old": 18, "<<16-3=13>>13": 13,
    # fractions
    "1/2": 0.5, "3 / 4": 0.75, "-1/2": -0.5, r"\frac{3}{4}": 0.75, r"\dfrac34": 0.75, r"-\frac{1}{2}": -0.5, r"\frac{-1}{2}": -0.5,
    "1 1/2": 1.5, r"1\frac{1}{2}": 1.5, "1½": 1.5, "½": 0.5, r"$- \frac{1}{2}$": -0.5, "3/4 cup": 0.75, r"\frac{270}7": 270 / 7,
    # thousands
    "$1,000,000": 1e6, "1{,}234": 1234, r"10,\!080": 10080, "1\u202f234": 1234, r"1\,234": 1234, "1,234,": 1234,
    # units
    "5cm": 5, "5 cm": 5, "5 cm^2": 5, "5 cm²": 5, "60 km/h": 60, "5 m/s^2": 5, r"864 \mbox{ inches}^2": 864, r"5\,\text{m/s}": 5,
    r"45^\circ": 45, "45°": 45, "45 °C": 45, r"18.8^{\circ}": 18.8, "18dollars": 18, r"\$18": 18, "-$5": -5, "18元": 18, "US$5": 5,
    # percent, powers of ten, signs, marks
    "10%": 10, r"50\%": 50, "50 percent": 50, "about 18%.": 18, "2.5e3": 2500, "1.2E+3": 1200, "1e-3": 0.001, "10^5": 1e5, "10⁵": 1e5,
    r"2.5 \times 10^{3}": 2500, "2.5×10^3": 2500, r"3 \cdot 10^{-2}": 0.03, "6.02e23": 6.02e23, "\u22123.5": -3.5, "\uff0d5": -5, "３４": 34,
    "**18**": 18, "**Answer:** 18": 18, "- 18 apples": 18, "Answer - 18": 18, "Total - $18": 18, "$18$": 18, r"\[ x = 18 \]": 18,
}  # fmt: skip
UNREAD = [
    *("", "five", "a1 b2", "3rd", "1e999", "1/0", r"\frac{1}{0}", "9" * 1000, "1," * 1000),
    *("2k+2", "2x", "2 x", "x^2", "5r^5", "7 - x", "x - 7", r"3\sqrt{13}", r"3 \sqrt{5}", r"2\pi", r"\frac{20000}{\pi}", "6 - 5i", "3+4i"),
    *("5-3", "5 - 3", "5 -3", "1\u20133", "2*3", "2**3", "2^{10}", "5²", "±3", r"\pm 3", "5 ± 0.5", r"\frac{\sqrt{3}}{3}", "2(3)", "f(5)"),
    *(r"(-\infty, 3]", r"(2,\infty)", "(2, 3)", "1,2,3", "12,34", "1,000,00", "1.2.3", "1.000.000", "3 4", r"\frac{1}{2},\sqrt{x}"),
    *("12:30", "3:1", "12/25/2024", "204_5", r"\log_{2}{5}", r"\sqrt{5}", "sin(5)", "ln 5", "x > 5", r"x \le 5", "3D", "0x1F", "1_000"),
]  # fmt: skip
ALONE = {
    "x = 5": 5,
    "16-3=13": 13,
    "18 dollars": 18,
    "She makes 9 * 2 = $18 every day": 18,
    "1 234 567.5": 1234567.5,
    "- 5": -5,
    "18 (my guess)": 18,
    **dict.fromkeys(
        ["2, 3", "5 or 6", r"5 \text{ or } 6", "x = 2 or x = 3", "5!", "1 hour 30 minutes", "18 (3 bags)", "7 and 8"]
    ),
}


def test_numbers_are_read_in_every_spelling():
    values = {text: getattr(last_number(text), "value", None) for text in READ}
    assert values == pytest.approx(READ)


def test_what_is_no_number_is_none_and_not_one_of_its_parts():
    assert {text: number for text in UNREAD if (number := last_number(text)) is not None} == {}


def test_a_box_or_a_reference_holds_one_number_or_none():
    assert {text: getattr(only_number(text), "value", None) for text in ALONE} == ALONE


@pytest.mark.parametrize("reference", [text for text in UNREAD if text][:60])
def test_a_reference_that_is_no_number_is_an_error_that_says_so(reference):
    outcome = judge(VERIFIERS.build("numeric", {}), "1", Example(prompt="p", answer=reference))
    assert outcome.problem == "error" and "is not a number" in outcome.message and len(outcome.message) < 160


@pytest.mark.parametrize(
    ("completion", "wanted", "right"),
    [
        *(("50%", "50%", 1), ("50%", "50", 1), ("50", "50%", 1), ("0.5", "50%", 1), ("50%", "1/2", 1), ("0.5%", "50%", 0), ("5", "50%", 0)),
        *((r"\boxed{18} in 2 steps", "18", 1), ("#### 18\nin 2 steps", "18", 1), (r"\boxed{2k+2} = 2", "2", 0), (r"\boxed{2, 3}", "3", 0), (r"so \boxed{5", "5", 0)),
        *((r"\boxed{\frac{3}{4}}", "0.75", 1), (r"\boxed{\frac{3}{4}}", "4", 0), ("1/2", "2", 0), ("1/2", ".5", 1), ("2k+2", "2", 0)),
        *(("7", "We see:\n3 + 4 = 7", 1), ("7", r"so \boxed{7} of 9", 1), ("7", "of 9\n#### 7", 1), ("1234", "1{,}234", 1), ("5", "5cm", 1)),
    ],
)  # fmt: skip
def test_numbers_are_compared_as_they_are_meant(completion, wanted, right):
    assert VERIFIERS.build("numeric", {}).score(completion, Example(prompt="p", answer=wanted)) == right


def test_gsm8k_is_read_in_every_form():
    numeric = VERIFIERS.build("numeric", {})
    for row in rows("gsm8k_test_400.jsonl"):
        answer = row["answer"].split("####")[1].strip()
        for reference in (row["answer"], answer):
            example = Example(prompt=row["question"], answer=reference)
            forms = (
                "{}",
                "${}",
                "The answer is {}.",
                "\\boxed{{{}}}",
                "\\boxed{{\\${}}}",
                "#### {}",
                "**{}**",
                "{} dollars",
                "x = {}",
            )
            for completion in (row["answer"], *(form.format(answer) for form in forms)):
                assert numeric.score(completion, example) == 1.0, (completion, reference)
            assert numeric.score(f"{answer}1", example) == 0.0


UNITS = [
    "9",
    "1,",
    "1,234",
    "9 ",
    "123 ",
    "-",
    "\\frac{",
    "\\text{",
    "\\boxed{",
    ".",
    "5%",
    " ",
    "x^",
    "⁵",
    "<",
    "a1",
    "\n",
    "1e",
    "$",
    "-$ ",
    "½",
]


@pytest.mark.parametrize("unit", UNITS)
def test_twice_the_text_takes_less_than_four_times_as_long(unit):
    numeric, example = VERIFIERS.build("numeric", {}), Example(prompt="p", answer="7")

    def seconds(size: int) -> float:
        text, times = unit * (size // len(unit)), []
        for _ in range(3):
            begin = time.process_time()  # of this process alone: the machine may be busy
            numeric.score(text, example)
            times.append(time.process_time() - begin)
        return min(times)

    assert seconds(64_000) < 4 * seconds(32_000) + 0.01
