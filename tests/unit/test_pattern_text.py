"""A text in which a pattern finds an answer: checked by the search that verifiers make."""

from __future__ import annotations

import pytest

from entropostat.reward.pattern_text import spelled
from entropostat.reward.patterns import find_answer

PATTERNS = [
    r"<answer>(.*?)</answer>",
    r"(?s)<answer>\s*(.+?)\s*</answer>",
    r"[Aa]nswer:\s*(.+)",
    r"#### (-?[\d,.]+)",
    r"Answer\s*[:=]\s*\$?([^\n$]+)\$?",
    r"(?i)the (?:final )?answer is:? (.*)\.?$",
    r"(?<=Answer: )(.+)",
    r"(\d+)(?= apples)",
    r"\\boxed\{(.*)\}",
    r"(?:ANSWER|RESULT)=(\S+);",
    r"(?:none|total=(\w+))",
    r"[^a-z](\d)+z{3}",
    r"(?P<answer>\d+)(?!\d)",
    r"\bis\b (\d+)",
    r"(?:(\d)|b)+",
    r"\W\D\S(\d)",
    r"-?\d+",
    r"\d+|[a-z]+",
    r"(?=.*\d)Result (.*)",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_pattern_finds_the_answer_in_it(pattern):
    text = spelled(pattern, "7")
    assert text is not None and find_answer(text, pattern) == "7", text


def test_without_a_group_the_answer_stands_at_the_end_of_what_is_found():
    assert spelled(r"Total:\s*\d+", "7") == "Total:7"


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(x){5000}y{2000}", r"((?:a){1001})b(c)\1", r"(a)?(?(1)b|c)"])
def test_what_is_beyond_it_is_none_and_nothing_breaks(pattern):
    assert spelled(pattern, "7") is None
