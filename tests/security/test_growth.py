"""A collapsed policy writes one thing over and over. What reads it takes a time in proportion to the length."""

from __future__ import annotations

import time

import pytest

from entropostat.data.example import Example
from entropostat.reward import answers, expressions, harmless, magnitude
from entropostat.reward.registry import VERIFIERS

PIECES = [
    *(
        "1",
        "1,",
        "1 ",
        "1.",
        "-",
        " ",
        "\n",
        "a",
        "answer ",
        "answer is ",
        "1/",
        "1e",
        "10^",
        "$",
        "$$",
        "\\",
        "\\\\",
        "{",
        "}",
    ),
    *(
        "{}",
        "(",
        "((1",
        "[",
        "<<",
        "<<1",
        "\\boxed{",
        "\\boxed{1}",
        "\\boxed{1},",
        "\\boxed 1 ",
        "\\boxed  ",
        "\\text{",
        "\\frac{1}{2}",
    ),
    *(
        "\\frac{",
        "####",
        "#### 1\n",
        "<think>",
        "</think>",
        "cm^",
        "1 000 ",
        "½",
        "\u2009",
        "=",
        ":",
        "*",
        "**",
        "!",
        "^",
        "^(",
        "x!",
        "9**9",
    ),
    *("\\begin{", "é", "√", "and ", "is ", "[0], ", "1 + ", "_ ", "</think>\n<answer>\n"),
]
FORMED = "<think>\n\n</think>\n<answer>\n"
"""What a pattern would have to be found behind."""
EXAMPLE = Example(prompt="2*8+6\n", answer="2", meta={"modulus": 10})


def readers():
    form, tags = VERIFIERS.build("format", {}), VERIFIERS.build("tag_count", {})
    loose, released = VERIFIERS.build("format", {"line_breaks": False}), VERIFIERS.build("format", {"reference": True})
    numeric, exact, chain = (VERIFIERS.build(name, {}) for name in ("numeric", "exact_match", "chain"))
    return {
        "numeric": lambda text: numeric.score(text, EXAMPLE),
        "exact_match": lambda text: exact.score(text, EXAMPLE),
        "chain": lambda text: (chain.score(text, EXAMPLE), chain.strategy(text, EXAMPLE)),
        "form": lambda text: [v.score(FORMED + text, EXAMPLE) for v in (form, tags, loose, released)],
        "boxed": answers.boxed,
        "spoken": lambda text: answers.spoken(text, "optional"),
        "without_box": answers.without_box,
        "expression": expressions.expression,
        "computable": lambda text: magnitude.computable(text[-expressions.LAST :]),
        "harmless": lambda text: (
            harmless.literal(text),
            harmless.arithmetic(text),
            harmless.formula(text),
            harmless.ratio(text),
        ),
    }


@pytest.mark.parametrize("name", readers())
def test_reading_takes_a_time_in_proportion_to_the_length(name):
    read = readers()[name]
    for piece in PIECES:
        times = []
        for length in (8_000, 64_000):
            text = piece * (length // len(piece))
            times.append(min(seconds(read, text) for _ in range(2)))
        assert times[1] < 24 * times[0] + 0.05, (piece, times)


def seconds(read, text):
    started = time.process_time()
    read(text)
    return time.process_time() - started
