"""What terms that follow the likeliness of a token or completion do to entropy, in exact expectation on drawn policies."""

from __future__ import annotations

import pytest
import torch
from theory.tabular import SEEDS, Case, draw, gain, slopes

BASE = [("dr_grpo", {})]


def added(case, term, options):
    return slopes(case, advantages=[*BASE, (term, options)]) - slopes(case, advantages=BASE)


def test_unlikeliness_raises_entropy_in_every_state_where_all_answers_are_right():
    for seed in SEEDS:
        case = Case(draw(seed).counts, torch.ones_like(draw(seed).reward))
        assert slopes(case, advantages=[("grpo", {})]).abs().max() < 1e-12
        assert (slopes(case, advantages=[("unlikeliness", {})]) > 1e-3).all()


@pytest.mark.parametrize("rule, key", [("relative", "zeta"), ("centred", "beta")])
@pytest.mark.parametrize("size", [0.02, 0.2])
def test_repo_raises_entropy_by_a_positive_size_and_lowers_it_by_a_negative_one(rule, key, size):
    for seed in SEEDS:
        up, down = (added(draw(seed), "repo", {"rule": rule, key: s}) for s in (size, -size))
        assert up.sum() > 1e-5 and down.sum() < -1e-5


def test_the_centred_rule_of_repo_is_an_entropy_bonus_in_expectation():
    for seed in SEEDS:
        bonus = gain(draw(seed), penalties=[("entropy_bonus", {"coef": 0.1})])
        torch.testing.assert_close(added(draw(seed), "repo", {"rule": "centred", "beta": 0.1}), bonus)


def test_reweighting_by_probability_has_no_direction_of_its_own():
    found = [float(added(draw(seed), "ar", {"k": 0.5}).sum()) for seed in SEEDS]
    assert min(found) < -1e-3 < 1e-3 < max(found)
