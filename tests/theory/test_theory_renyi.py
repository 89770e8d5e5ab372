"""The bonus on an entropy of order 2, on tabular softmax policies."""

from __future__ import annotations

import pytest
import torch

from entropostat.rl.batch import TokenBatch
from entropostat.rl.penalties.renyi_bonus import RenyiBonus


def penalty(logits: torch.Tensor, mask: torch.Tensor, family: str, coef: float) -> torch.Tensor:
    """Of a policy with one state a token, (B, T, V) logits."""
    logp = logits.log_softmax(-1)
    batch = TokenBatch(
        logps=logp[..., 0],
        mask=mask,
        sum_p2=logp.exp().square().sum(-1).masked_fill(mask == 0, 0.0),
        tokens=mask.sum(),
    )
    return RenyiBonus(coef=coef, family=family)(batch)[0]


def order_two(logits: torch.Tensor, family: str) -> torch.Tensor:
    sums = logits.softmax(-1).square().sum(-1)
    return -sums.log() if family == "renyi" else 1 - sums


@pytest.mark.parametrize("family", ["renyi", "tsallis"])
def test_it_is_minus_the_mean_of_its_entropy_over_the_valid_tokens(family: str) -> None:
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    expected = -0.3 * order_two(logits, family)[mask.bool()].mean()
    torch.testing.assert_close(penalty(logits, mask, family, 0.3), expected)


@pytest.mark.parametrize("family", ["renyi", "tsallis"])
@pytest.mark.parametrize("coef", [1.0, -1.0])
def test_a_step_moves_that_entropy_its_way(family: str, coef: float) -> None:
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    mask = torch.ones(2, 3)
    (slope,) = torch.autograd.grad(penalty(logits, mask, family, coef), logits)
    change = order_two(logits - 0.01 * slope, family).mean() - order_two(logits, family).mean()
    assert change * coef > 0


def test_a_decided_and_a_uniform_policy_feel_nothing() -> None:
    for logits in (torch.tensor([[[60.0, 0.0, 0.0]]]), torch.zeros(1, 1, 3)):
        logits = logits.double().requires_grad_()
        (slope,) = torch.autograd.grad(penalty(logits, torch.ones(1, 1), "renyi", 1.0), logits)
        assert slope.abs().max() < 1e-12
