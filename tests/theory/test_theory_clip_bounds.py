"""The law of the clip bounds under rewards that say nothing, by which a controller may hold entropy with them.

Each action is rewarded as often as it is punished, so that a gradient without a clip is 0 on average: what is left is the clip's.
"""

from __future__ import annotations

import pytest
import torch
from theory.tabular import SEEDS, draw, pull, slopes


def moved(by):
    """Policies that have moved one action, and what that action pulls."""
    for seed in SEEDS[:15]:
        case = draw(seed, states=1)
        for action in range(6):
            at, values = case.logits.clone(), torch.zeros_like(case.reward)
            at[0, action] += by
            values[0, action] = 1.0
            yield case, at, values, float(pull(at)[0, action])


def left_by(case, at, values, **bounds):
    return sum(float(slopes(case, at=at, values=s * values, loss=("ppo_clip", bounds))) for s in (1, -1))


OPEN_LOW, OPEN_HIGH = 0.99999, 1e6


@pytest.mark.parametrize("by, side", [(0.5, "upper"), (-1.5, "lower")])
def test_a_wider_upper_bound_raises_entropy_by_rare_tokens_and_a_wider_lower_one_lowers_it(by, side):
    signs = []
    for case, at, values, rare in moved(by):
        found = []
        for width in (0.05, 0.2, 0.4, 0.7):
            upper = {"epsilon": OPEN_LOW, "epsilon_high": width}
            bounds = upper if side == "upper" else {"epsilon": width, "epsilon_high": OPEN_HIGH}
            found.append(left_by(case, at, values, **bounds))
        effect = found[-1] - found[0]
        assert found == sorted(found, reverse=effect < 0)
        if effect:
            assert effect * rare > 0 if side == "upper" else effect * rare < 0
            signs.append(rare)
        assert left_by(case, at, values, epsilon=OPEN_LOW, epsilon_high=OPEN_HIGH) == 0
    assert min(signs) < -1e-3 < 1e-3 < max(signs)
