"""What `entropostat data` counts: prompts that stand twice or test what is trained on, answers that are missing, lengths."""

from __future__ import annotations

from random import Random

import pytest

from entropostat.data.example import Example
from entropostat.data.lengths import BINS, WIDTH, Lengths
from entropostat.data.sample import spread
from entropostat.data.survey import plain, survey, survey_set


def rows(*pairs: tuple[str, str | None]) -> list[Example]:
    return [Example(prompt=text, answer=answer) for text, answer in pairs]


def test_rows_are_counted_under_all_that_is_true_of_them():
    a = rows(("p", "1"), ("p ", "2"), ("q", None), ("q", "1"), ("What is 2+2?", "4"), ("held", "1"))
    b = rows(("q", "1"), ("r", "1"))
    sets = {"test": rows(("r", "1"), ("what is  2+2", "4"), ("r", None))}
    found = survey({"a": a, "b": b}, {"a": a[:5], "b": b[:1]}, {"a": a[5:], "b": []}, sets)
    assert (found["a"].rows, found["a"].no_answer, found["a"].repeated, found["a"].conflicting) == (6, 1, 2, 1)
    assert (found["a"].elsewhere, found["b"].elsewhere) == (2, 1)
    assert (found["a"].tested, found["b"].tested) == (0, 1)
    assert (found["a"].nearly, found["b"].nearly) == (1, 0)
    test = survey_set(sets["test"])
    assert (test.rows, test.no_answer, test.repeated) == (3, 1, 1)


@pytest.mark.parametrize(
    ("one", "other", "same"), [("Add 2, 3!", "add 2 3", True), ("2+3", "2-3", False), ("x^2", "x2", False)]
)
def test_signs_of_mathematics_make_another_question_and_punctuation_does_not(one, other, same):
    assert (plain(one) == plain(other)) is same


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_and_bins_hold_all_lengths(seed):
    draw = Random(seed)
    given = [draw.randint(1, 10 ** draw.randint(1, 5)) for _ in range(draw.randint(1, 400))]
    found = Lengths.of(given)
    assert (found.count, found.shortest, found.longest) == (len(given), min(given), max(given))
    for share, length in found.quantiles.items():
        assert sum(value <= length for value in given) >= share * len(given) - 1e-9
        assert sum(value < length for value in given) < share * len(given)
    assert len(found.bins) <= BINS and sum(count for *_, count in found.bins) == len(given)
    for low, high, count in found.bins:
        assert count == sum(low <= value <= high for value in given)
    lines = found.lines()
    assert len(lines) == len(found.bins) and max(line.count("#") for line in lines) == WIDTH
    assert all(("#" in line) == (count > 0) for line, (*_, count) in zip(lines, found.bins, strict=True))


def test_a_sample_is_spread_over_all_and_keeps_their_order():
    assert spread(range(1000), 4) == [0, 250, 500, 750]
    assert spread("abc", 5) == list("abc")
