"""A completion may write a number that no machine can write out. It is judged, and at once."""

from __future__ import annotations

import time

import pytest
from support.pace import pace

from entropostat.data.example import Example
from entropostat.reward.judge import judge
from entropostat.reward.magnitude import computable
from entropostat.reward.registry import VERIFIERS

HUGE = [
    "1e999999999",
    "1E+99999999",
    "10^{999999999}",
    "10^{-999999999}",
    "9^{9^{9}}",
    "9**9**9",
    "9^{9^{9^{9}}}",
    "2^{(3^{40})}",
    "1000000^{1000000}",
    "(10^{9})!",
    "99999999!",
    "((3!)!)!",
    "5!!!!",
    r"\binom{1000000000}{500000000}",
    r"\Gamma(99999999)",
    r"\prod_{n=1}^{1000000}n",
    r"\pi^{1/999999999}",
    "(x+1)^{99999}",
    "2^{999 \\cdot 999 \\cdot 999}",
    "(" * 300 + "1" + ")" * 300,
    r"\sqrt{" * 100 + "2" + "}" * 100,
    r"\frac{1}{" * 100 + "2" + "}" * 100,
]
FAIR = [
    "10^{100}",
    "2^{2024}",
    "3^{2^{3}}",
    "e^{x^2}",
    "100!",
    r"\binom{100}{50}",
    r"\frac{1}{\sqrt{1+\sqrt{2}}}",
    "6.02e23",
    r"x^{2}+2^{10}",
    r"1.5 \times 10^{-9}",
    "(2n+1)!",
    r"7^{9999}",
]


@pytest.mark.parametrize("text", HUGE)
def test_a_number_too_large_to_write_out_is_wrong_at_once(text):
    verifier = VERIFIERS.build("math_verify", {})
    judge(verifier, "\\boxed{2}", Example("p", "1"))  # sympy is loaded
    started = time.process_time()
    for completion in (f"\\boxed{{{text}}}", text, f"The answer is ${text}$."):
        outcome = judge(verifier, completion, Example("p", "1"))
        assert outcome.score == 0.0 and outcome.problem is None, completion
    assert time.process_time() - started < 2.0 * pace()


@pytest.mark.parametrize("text", FAIR)
def test_numbers_of_an_ordinary_size_are_compared(text):
    assert computable(text)
    assert VERIFIERS.build("math_verify", {}).score(f"\\boxed{{{text}}}", Example("p", text)) == 1.0
