"""Values of several heads, and the loss that trains them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.rl_support import near

from entropostat.rl.critic import combine, value_loss
from entropostat.rl.critic_choices import CLIP_RULES, COMBINATIONS, LOSSES

few = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)
PLAIN = {"loss": "mse", "delta": 0.5, "clip": None, "rule": "max"}


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@few
@given(seed=seeds, alpha=st.sampled_from([0.01, 0.3, 10.0]), heads=st.integers(1, 3))
def test_the_soft_minimum_lies_between_the_minimum_and_the_mean(seed, alpha, heads):
    v = normal(seed, 4, 5, heads)
    low, mean, soft = (combine(v, mode, alpha) for mode in ("min", "mean", "softmin"))
    assert (low - 1e-12 <= soft).all() and (soft <= mean + 1e-12).all()
    if heads == 1:
        near(soft, v[..., 0])


def test_its_softness_goes_from_the_minimum_to_the_mean_and_stays_finite():
    v = torch.tensor([[1e3, -1e3], [0.3, 0.4]], dtype=torch.float64)
    torch.testing.assert_close(combine(v, "softmin", 1e-4), v.amin(-1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(combine(v, "softmin", 1e9), v.mean(-1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mode", COMBINATIONS)
def test_equal_heads_give_their_value_and_share_the_gradient(mode):
    v = torch.full((3, 2), 0.7, dtype=torch.float64, requires_grad=True)
    out = combine(v, mode, 0.3)
    near(out, v[:, 0])
    near(torch.autograd.grad(out.sum(), v)[0], torch.full_like(v, 0.5))


@few
@given(seed=seeds, loss=st.sampled_from(LOSSES), rule=st.sampled_from(CLIP_RULES), clip=st.sampled_from([None, 0.2]))
def test_the_gradient_is_that_of_central_differences_and_padding_has_none(seed, loss, rule, clip):
    values, old, mask = normal(seed, 2, 3, 2), normal(seed + 1, 2, 3, 2), torch.tensor([[1, 1, 0], [1, 0, 0]])
    returns = normal(seed + 2, 2, 3)
    bad = torch.nan
    old = torch.where(mask.bool().unsqueeze(2), old, bad)
    returns = torch.where(mask.bool(), returns, bad)

    def total(v):
        return value_loss(v, old, returns, mask, loss=loss, delta=0.5, clip=clip, rule=rule).sum()

    v = torch.where(mask.bool().unsqueeze(2), values, bad).requires_grad_()
    (gradient,) = torch.autograd.grad(total(v), v)
    assert (gradient[mask == 0] == 0).all()
    for place in mask.nonzero().tolist():
        for head in range(2):
            moved = []
            for sign in (1, -1):
                w = v.detach().clone()
                w[place[0], place[1], head] += sign * 1e-6
                moved.append(float(total(w)))
            assert (moved[0] - moved[1]) / 2e-6 == pytest.approx(
                float(gradient[place[0], place[1], head]), rel=1e-5, abs=1e-8
            )


def loss_of(value, old=0.0, target=1.0, **options):
    x = [torch.tensor([[number]], dtype=torch.float64) for number in (value, old, target)]
    return float(value_loss(*x, torch.ones(1, 1), **{**PLAIN, **options}))


def test_the_losses_by_hand():
    assert loss_of(0.4) == pytest.approx(0.6**2 / 2)
    assert loss_of(0.4, loss="huber") == pytest.approx(0.5 * (0.6 - 0.25))
    assert loss_of(0.8, loss="huber") == pytest.approx(0.2**2 / 2)
    assert loss_of(0.9, clip=0.2) == pytest.approx(0.8**2 / 2)  # the bounded value, 0.2, is further off
    assert loss_of(-0.9, clip=0.2) == pytest.approx(1.9**2 / 2)  # the value itself is
    assert loss_of(0.9, clip=0.2, rule="mean") == pytest.approx((0.1**2 + 0.8**2) / 4)


def test_a_value_that_moved_too_far_towards_its_target_stops_and_one_that_moved_away_comes_back():
    def slope(value, rule):
        v = torch.tensor([[value]], dtype=torch.float64, requires_grad=True)
        one = torch.ones(1, 1, dtype=torch.float64)
        loss = value_loss(v, 0 * one, one, one, loss="mse", delta=0.5, clip=0.2, rule=rule)
        return float(torch.autograd.grad(loss.sum(), v)[0])

    assert slope(0.9, "max") == 0
    assert slope(-0.9, "max") == pytest.approx(-1.9)
    assert slope(0.9, "mean") == pytest.approx(-0.05)  # no stop: only half of the pull


def test_heads_learn_on_their_own_and_through_the_combination_only_the_lower_does():
    values = torch.tensor([[[0.2, 0.6]]], dtype=torch.float64, requires_grad=True)
    target, mask = torch.ones(1, 1).double(), torch.ones(1, 1)
    each = value_loss(values, torch.zeros(1, 1, 2).double(), target, mask, **PLAIN)
    assert each.shape == (1, 1, 2)
    near(torch.autograd.grad(each.sum(), values)[0].view(-1), torch.tensor([-0.8, -0.4], dtype=torch.float64))
    low = value_loss(combine(values, "min", 0.3), torch.zeros(1, 1).double(), target, mask, **PLAIN)
    near(torch.autograd.grad(low.sum(), values)[0].view(-1), torch.tensor([-0.8, 0.0], dtype=torch.float64))


def test_a_wrong_name_and_shapes_that_do_not_fit_are_named():
    x = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="unknown combination 'maximum'; known: min, mean, softmin"):
        combine(x, "maximum", 0.3)
    with pytest.raises(ValueError, match="unknown value loss 'mae'; known: mse, huber"):
        value_loss(x, x, x, x, **{**PLAIN, "loss": "mae"})
    with pytest.raises(ValueError, match="unknown clip rule 'sum'; known: max, mean"):
        value_loss(x, x, x, x, **{**PLAIN, "clip": 0.2, "rule": "sum"})
    with pytest.raises(ValueError, match=r"values \(1, 1, 2\) and old_values \(1, 1\): combine both or neither"):
        value_loss(torch.zeros(1, 1, 2), x, x, x, **PLAIN)
