"""The two actuators of the autopilot: the tilt of the weights, and the bonus on the uncertain tokens."""

from __future__ import annotations

import math

import pytest
import torch
from unit.rl_support import batch_of, prepared, rollout_view

from entropostat.rl.objective import Objective


def tilted(gain, batch, **options):
    parts = [("entropy_tilt", "entropy_tilt", {"gain": gain, **options})]
    o = Objective.build({"loss": ("unclipped", "unclipped", {}), "weights": parts})
    return o.weight(batch, prepared(o, batch))


@pytest.mark.parametrize("gain", [-2.0, -0.5, 0.5, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_tilt_keeps_the_sum_of_the_advantages_and_its_direction_and_no_weight_is_zero(gain, seed):
    batch = batch_of(seed)
    weight, metrics = tilted(gain, batch)
    a = (batch.token_advantages * batch.mask)[batch.valid]
    w = weight[batch.valid]
    torch.testing.assert_close((w * a.abs()).sum(), a.abs().sum(), rtol=1e-12, atol=0)
    cosine = torch.nn.functional.cosine_similarity(w * a, a, dim=0)
    assert cosine >= metrics["entropy_tilt/cosine"] - 1e-12 >= 0.7 - 1e-6
    assert w.min() >= math.exp(-2 * abs(gain)) and w.max() <= math.exp(2 * abs(gain)) and (w != 1).any()
    assert 0 < abs(metrics["entropy_tilt/gain"]) <= abs(gain) and metrics["entropy_tilt/shift"] * gain > 0


def test_a_gain_of_zero_is_exactly_one_and_a_floor_draws_a_large_gain_back():
    batch = batch_of(3)
    assert (tilted(0.0, batch)[0] == 1).all()
    loose, tight = (tilted(2.0, batch, cosine_floor=f)[1] for f in (0.0, 0.95))
    assert loose["entropy_tilt/gain"] == 2 and loose["entropy_tilt/cosine"] < 0.9
    assert 0.05 < tight["entropy_tilt/gain"] < 2
    assert tight["entropy_tilt/cosine"] == pytest.approx(0.95, abs=1e-3) and tight["entropy_tilt/cosine"] >= 0.95


def test_the_tilt_reports_what_it_could_do_and_what_entropy_has_done_since():
    batch = batch_of(5)
    metrics = tilted(0.7, batch)[1]
    up, down = (tilted(g, batch)[1] for g in (2.0, -2.0))
    want = (up["entropy_tilt/predicted"] - down["entropy_tilt/predicted"]) / 2
    assert metrics["entropy_tilt/authority"] == pytest.approx(float(want), rel=1e-9) and want > 0
    moved = (batch.entropy - batch.old_entropy)[batch.valid].mean()
    assert metrics["entropy_tilt/realised"] == pytest.approx(float(moved))
    assert tilted(0.7, batch.set(generation=7))[1]["entropy_tilt/generation"] == 7
    nothing = tilted(0.7, batch.set(advantages=torch.zeros(6, dtype=torch.float64)))
    assert nothing[1]["entropy_tilt/authority"] == 0 and (nothing[0] == 1).all()


def test_the_bonus_on_the_top_tokens_acts_on_the_uncertain_ones_of_the_generation_only():
    batch = batch_of(6)
    entropy = batch.entropy.clone().requires_grad_()
    options = {"coef": 0.7, "select": "top", "top_fraction": 0.25}
    parts = [("entropy_bonus", "entropy_bonus", options)]
    o = Objective.build({"loss": ("unclipped", "unclipped", {}), "penalties": parts})
    assert o.rollout_needs == {"old_entropy"}
    stats = o.rollout(rollout_view(batch)).stats
    value, metrics = o.penalty(o.penalties[0], batch.set(entropy=entropy), stats)
    value.backward()
    chosen = entropy.grad != 0
    old, count = batch.old_entropy, int(batch.mask.sum())
    assert chosen.sum() == math.ceil(0.25 * (count - 1)) or chosen.sum() == math.ceil(0.25 * count)
    assert old[chosen].min() > old[batch.valid & ~chosen].max() and not chosen[~batch.valid].any()
    torch.testing.assert_close(entropy.grad[chosen], torch.full_like(old[chosen], -0.7 / count))
    assert metrics["entropy_bonus/entropy"] == pytest.approx(float(batch.entropy[chosen].mean()))
