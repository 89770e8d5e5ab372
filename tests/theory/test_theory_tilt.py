"""The tilt by the theorem: entropy after a step rises with its gain, on tabular softmax policies with exact entropies."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from theory.tabular import draw, entropies, objective, slopes, tokens

from entropostat.rl.reduce import aggregate

SEEDS = range(5)
GAINS = (-2.0, -1.0, -0.3, 0.0, 0.3, 1.0, 2.0)


def tilt(gain, **options):
    return [("entropy_tilt", {"gain": gain, **options})]


def stepped(case, gain, rate=0.03):
    """Mean exact entropy of the states after one gradient step of ``rate``."""
    o, rows = objective(weights=tilt(gain)), case.all()
    z = case.logits.clone().requires_grad_()
    rollout = o.rollout(tokens(case, case.logits, rows))
    batch = tokens(case, z, rows).set(advantages=rollout.advantages)
    aggregate(o.token_loss(batch, rollout.stats)[0], batch.mask).backward()
    return entropies(case.logits - rate * z.grad).mean()


def test_the_slope_of_entropy_grows_with_the_gain_of_the_tilt():
    """Over all states together and for every gain: by Chebyshev's inequality, not by luck of the draw."""
    for seed in SEEDS:
        free, held = ([slopes(draw(seed), weights=tilt(g, cosine_floor=f)).sum() for g in GAINS] for f in (0.0, 0.7))
        assert all(a + 1e-6 < b for a, b in pairwise(free))
        assert all(a <= b + 1e-15 for a, b in pairwise(held)) and held[2] < held[3] < held[4]


def test_entropy_itself_follows_the_gain_after_a_step_of_finite_size():
    for seed in SEEDS:
        lower, plain, higher = (stepped(draw(seed), gain) for gain in (-1.0, 0.0, 1.0))
        assert lower < plain < higher


@pytest.mark.parametrize("gain", GAINS)
def test_the_reported_prediction_is_the_exact_slope_of_the_mean_entropy(gain):
    for seed in range(5):
        case = draw(seed)
        o, rows = objective(weights=tilt(gain)), case.all()
        rollout = o.rollout(tokens(case, case.logits, rows))
        batch = tokens(case, case.logits, rows).set(advantages=rollout.advantages)
        _, metrics = o.weight(batch, rollout.stats)
        exact = slopes(case, weights=tilt(gain)).sum()
        torch.testing.assert_close(metrics["entropy_tilt/predicted"], exact, rtol=1e-9, atol=1e-12)
        untilted = slopes(case).sum()
        torch.testing.assert_close(metrics["entropy_tilt/untilted"], untilted, rtol=1e-9, atol=1e-12)


def test_weighing_by_the_change_of_the_token_instead_of_its_change_per_advantage_could_lower_entropy():
    """Why y and not dH: with the sum of |A| kept, a large advantage of small leverage would crowd out a small one of large."""
    advantage, leverage = torch.tensor([10.0, 1.0]), torch.tensor([0.1, 0.5])
    change = advantage * leverage
    by_change, by_leverage = change.exp(), leverage.exp()
    kept = [w * advantage.sum() / (w * advantage).sum() for w in (by_change, by_leverage)]
    assert (kept[0] * change).sum() < change.sum() < (kept[1] * change).sum()
