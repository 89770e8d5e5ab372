"""FlowRL's trajectory balance by hand, and at its edges."""

from __future__ import annotations

import math

import pytest
import torch

from entropostat.rl.batch import TokenBatch
from entropostat.rl.registry import LOSSES
from entropostat.rl.sequence import row_mean


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def batch(logps, old, ref, advantages, mask, log_z):
    return TokenBatch(logps, mask, advantages=advantages, old_logps=old, ref_logps=ref, log_z=log_z)


def flowrl(given, **options):
    """(B,) means over the tokens of each completion, and the metrics."""
    tokens, metrics = LOSSES.build("flowrl", options)(given)
    return row_mean(tokens, given)[:, 0], {name: float(value) for name, value in metrics.items()}


def test_the_balance_of_a_completion_is_by_means_and_its_weight_by_the_sum():
    # delta = 0.5 + (-1 - 2) / 2 - 2 * 0.3 - (-1 - 1) / 2 = -0.6      w = exp(0.1 + 0.1)
    logps, log_z = rows([-1.0, -2.0]).requires_grad_(), rows(0.5).requires_grad_()
    given = batch(logps, logps.detach() - 0.1, rows([-1.0, -1.0]), rows(0.3), rows([1, 1]), log_z)
    (loss,), told = flowrl(given, beta=2.0)
    assert loss.item() == pytest.approx(math.exp(0.2) * 0.36)
    assert told == pytest.approx({"log_z": 0.5, "residual": 0.6, "capped": 0.0})
    by_policy, by_z = torch.autograd.grad(loss, [logps, log_z])
    assert float(by_z) == pytest.approx(2 * math.exp(0.2) * -0.6)
    torch.testing.assert_close(by_policy, by_z.expand(1, 2) / 2)


def test_a_token_of_weight_zero_keeps_its_log_prob_and_the_others_and_log_z_go_on():
    logps, log_z = rows([-1.0, -2.0]).requires_grad_(), rows(0.5).requires_grad_()
    given = batch(logps, logps.detach(), rows([-1.0, -1.0]), rows(0.3), rows([1, 1]), log_z)
    tokens, _ = LOSSES.build("flowrl", {"beta": 2.0})(given)
    slope, by_z = torch.autograd.grad((tokens * rows([0.0, 1.0])).sum(), [logps, log_z])
    assert slope.tolist() == [pytest.approx([0.0, -1.2])] and float(by_z) == pytest.approx(-1.2)


def test_a_completion_without_tokens_has_no_loss_no_metric_and_leaves_its_log_z_alone():
    mask, log_z = rows([1, 1], [0, 0]), rows(0.5, math.nan).requires_grad_()
    x = rows([-1.0, -2.0], [math.nan, math.inf])
    both, told = flowrl(batch(x, x, x, rows(0.3, 0.3), mask, log_z))
    one, alone = flowrl(batch(x[:1], x[:1], x[:1], rows(0.3), mask[:1], log_z[:1]))
    assert both.tolist() == [float(one), 0.0] and told == alone
    assert float(torch.autograd.grad(both.sum(), log_z)[0][1]) == 0


def test_what_lies_in_padding_is_neither_read_nor_given_a_loss():
    x, log_z = rows([-1.0, math.nan]), rows(0.5)
    tokens, _ = LOSSES.build("flowrl")(batch(x, x, x, rows([0.3, math.inf]), rows([1, 0]), log_z))
    assert tokens[0, 0] > 0 and tokens[0, 1] == 0


def test_the_weight_of_a_long_completion_stops_at_its_cap_and_is_finite():
    mask = torch.ones(2, 400)
    old = torch.stack([torch.full((400,), -4.0), torch.full((400,), 2.0)])
    loss, told = flowrl(batch(-mask, old, -mask, torch.zeros(2), mask, torch.ones(2)))
    assert loss.tolist() == pytest.approx([10.0, 0.0]) and told["capped"] == 0.5
    assert float(flowrl(batch(-mask, old, -mask, torch.zeros(2), mask, torch.ones(2)), cap=2.0)[0][0]) == pytest.approx(
        2
    )


def test_a_token_that_one_policy_finds_impossible_has_no_gradient_and_the_rest_is_finite():
    logps, log_z = rows([-1.0, -math.inf, -2.0]).requires_grad_(), rows(0.0).requires_grad_()
    given = batch(logps, rows([-1.0, -1.0, -2.0]), rows([-1.0, -1.0, -math.inf]), rows(0.0), rows([1, 1, 1]), log_z)
    (loss,), _ = flowrl(given)
    slope, by_z = torch.autograd.grad(loss, [logps, log_z])
    assert loss.isfinite() and slope.isfinite().all() and by_z.isfinite().all()
    assert slope[0, 1] == 0 and slope[0, 2] == 0
