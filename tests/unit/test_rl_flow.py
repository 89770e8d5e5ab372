"""Trajectory balance by hand, and at its edges."""

from __future__ import annotations

import math

import pytest
import torch

from entropostat.rl.batch import TokenBatch
from entropostat.rl.flow import trajectory_balance


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def batch(logps, old, ref, advantages, mask):
    return TokenBatch(logps, mask, advantages=advantages, old_logps=old, ref_logps=ref)


def test_the_balance_of_a_completion_is_by_means_and_its_weight_by_the_sum():
    # delta = 0.5 + (-1 - 2) / 2 - 2 * 0.3 - (-1 - 1) / 2 = -0.6      w = exp(0.1 + 0.1)
    logps, log_z = rows([-1.0, -2.0]).requires_grad_(), rows(0.5).requires_grad_()
    found = trajectory_balance(
        batch(logps, logps.detach() - 0.1, rows([-1.0, -1.0]), rows(0.3), rows([1, 1])), log_z, 2.0
    )
    assert float(found.delta) == pytest.approx(-0.6) and float(found.weight) == pytest.approx(math.exp(0.2))
    assert float(found.loss) == pytest.approx(math.exp(0.2) * 0.36)
    by_policy, by_z = torch.autograd.grad(found.loss, [logps, log_z])
    assert float(by_z) == pytest.approx(2 * math.exp(0.2) * -0.6)
    torch.testing.assert_close(by_policy, by_z.expand(1, 2) / 2)


def test_a_completion_without_tokens_counts_in_no_mean_and_leaves_its_log_z_alone():
    mask, log_z = rows([1, 1], [0, 0]), rows(0.5, 3.0).requires_grad_()
    x = rows([-1.0, -2.0], [math.nan, math.inf])
    both = trajectory_balance(batch(x, x, x, rows(0.3, 0.3), mask), log_z)
    one = trajectory_balance(batch(x[:1], x[:1], x[:1], rows(0.3), mask[:1]), log_z[:1])
    assert float(both.loss) == float(one.loss)
    assert float(torch.autograd.grad(both.loss, log_z)[0][1]) == 0


def test_the_weight_of_a_long_completion_stops_at_its_cap_and_is_finite():
    mask = torch.ones(2, 400)
    old = torch.stack([torch.full((400,), -4.0), torch.full((400,), 2.0)])
    found = trajectory_balance(batch(-mask, old, -mask, torch.zeros(2), mask), torch.ones(2))
    assert found.weight.tolist() == pytest.approx([10.0, 0.0])
