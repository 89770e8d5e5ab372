"""The evidence bench's own task: what is asked, what is right, and what a look counts."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.claims import puzzle


def test_an_answer_is_right_where_its_digits_its_steps_and_its_end_are():
    right = "2358=4"
    assert puzzle.is_right(":3*5=5+3=8", "2335=4\n") and puzzle.is_right(":3+5=8", right)
    assert not puzzle.is_right(":3*5=5+3=8", right), "one 3 used twice"
    assert not puzzle.is_right(":3+5=9", right) and not puzzle.is_right(":2+5=7", right)
    assert not puzzle.is_right("=8", right) and not puzzle.is_right(":3+5=8+", right)
    assert not puzzle.is_right(":3+5=8", right, only="*") and puzzle.is_right(":2*3=6*8=8", right, only="*")


def test_every_prompt_has_an_answer_and_none_is_asked_twice():
    for only in ("", "*"):
        asked = puzzle.prompts(5000, 0, only)
        assert len(asked) == len(set(asked)) > 1000
        assert all(puzzle.solutions(text[:4], int(text[5]), only) for text in asked[::97])


def test_demonstrations_seldom_show_two_multiplications_and_end_anywhere():
    rng = Random(0)
    shown = [puzzle.demonstration("2358=4\n", rng) for _ in range(2000)]
    double = sum(puzzle.allowed(text, "*") for text in shown) / len(shown)
    assert double == pytest.approx(24 * puzzle.SHOWN / (96 + 24 * puzzle.SHOWN), abs=0.015)
    assert {puzzle.answers("2358")[text] for text in shown} == set(range(10))
