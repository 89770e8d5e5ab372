"""Repetition, distinct completions and solved groups against hand-made texts and Python's own sets."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from entropostat.rl.diagnostics import text
from entropostat.rl.diagnostics.learning import solving


@pytest.mark.parametrize(
    ("ids", "repeated", "grams"),
    [
        ([1, 2, 3, 4, 1, 2, 3, 4], 1, 5),
        ([5, 5, 5, 5, 5, 5, 5], 3, 4),
        ([1, 2, 3, 4, 5, 6], 0, 3),
        ([0, 0, 0, 0, 0], 1, 2),
        ([1, 2, 3], 0, 0),
        ([1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4], 6, 11),
    ],
)
def test_repetition_counts_the_four_grams_that_came_before(ids: list[int], repeated: int, grams: int) -> None:
    row = torch.tensor([ids])
    assert text.repetition(row, torch.ones_like(row, dtype=torch.bool)).tolist() == [repeated, grams]
    # the same completion twice is no repetition within one, and padding is no text
    both = torch.cat([row, row]), torch.ones(2, len(ids), dtype=torch.bool)
    padded = torch.nn.functional.pad(both[0], (0, 6), value=9), torch.nn.functional.pad(both[1], (0, 6))
    for case in (both, padded):
        assert text.repetition(*case).tolist() == [2 * repeated, 2 * grams]


def test_a_gram_across_a_hole_does_not_count() -> None:
    ids = torch.tensor([[1, 2, 3, 4, 9, 1, 2, 3, 4]])
    assert text.repetition(ids, ids != 9).tolist() == [1, 2]


def test_repetition_is_that_of_python_sets() -> None:
    g = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 3, (20, 40), generator=g)
    valid = torch.arange(40) < torch.randint(0, 41, (20, 1), generator=g)
    expected = [0, 0]
    for row, mask in zip(ids, valid, strict=True):
        tokens = row[mask].tolist()
        grams = [tuple(tokens[i : i + 4]) for i in range(len(tokens) - 3)]
        expected = [expected[0] + len(grams) - len(set(grams)), expected[1] + len(grams)]
    assert text.repetition(ids, valid).tolist() == expected


def test_distinct_is_that_of_python_sets_and_padding_is_not_looked_at() -> None:
    g = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 2, (24, 4), generator=g)
    valid = torch.arange(4) < torch.randint(1, 5, (24, 1), generator=g)
    groups = torch.tensor([7] * 8 + [3] * 8 + [5] * 7 + [1])[torch.randperm(24, generator=g)]
    shares = []
    for group in (7, 3, 5):
        texts = [tuple(r[m].tolist()) for r, m, of in zip(ids, valid, groups, strict=True) if of == group]
        shares.append(len(set(texts)) / len(texts))
    for filled in (ids, torch.where(valid, ids, 77)):
        assert text.distinct(text.fingerprints(filled, valid), groups) == pytest.approx(sum(shares) / 3)
    alone = text.fingerprints(ids[:3], valid[:3])
    assert math.isnan(text.distinct(alone, torch.arange(3)))
    assert len({float(x) for x in text.fingerprints(torch.eye(9, dtype=torch.long), torch.ones(9, 9).bool())}) == 9


def test_solving_and_pass_at_k_are_those_of_all_draws() -> None:
    g = torch.Generator().manual_seed(4)
    groups = torch.arange(40) // 4
    right = (torch.rand(40, generator=g) < 0.3).double()
    right[torch.tensor([0, 9, 10, 11, 8, 38])] = math.nan  # one group without any score, others with fewer
    order = torch.randperm(40, generator=g)
    measures = solving(right[order], groups[order])
    members = [[x for x in right[groups == i].tolist() if not math.isnan(x)] for i in range(10)]
    members = [m for m in members if m]
    assert len(members) == 9
    one = [sum(m) / len(m) for m in members]
    k = [sum(any(d) for d in itertools.combinations(m, len(m))) for m in members]
    expected = {
        "solve_none": sum(not any(m) for m in members) / 9,
        "solve_some": sum(any(m) and not all(m) for m in members) / 9,
        "solve_all": sum(all(m) for m in members) / 9,
        "pass@1": sum(one) / 9,
        "pass@k": sum(k) / 9,
        "gap": sum(k) / 9 - sum(one) / 9,
    }
    assert measures == pytest.approx(expected)
    assert measures["gap"] > 0
    assert all(math.isnan(x) for x in solving(torch.full((4,), math.nan), torch.zeros(4)).values())
    alone = solving(torch.tensor([1.0, 0.0]), torch.arange(2))
    assert alone["pass@1"] == alone["pass@k"] == 0.5 and alone["gap"] == 0
