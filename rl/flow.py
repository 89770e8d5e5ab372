"""Trajectory balance on completions: the loss of FlowRL, of a policy and of a learned log Z of each prompt.

    delta_i = log Z_i + mean_t log pi - beta mean_t A - mean_t log ref
    L = mean over completions of w_i delta_i^2,   w_i = min(exp(sum_t (log pi - log pi_old)), cap), a constant

FlowRL, arXiv:2509.15207, by the recipe that verl has of it: beta 15, cap 10; the reward is the advantage, the two log-probs are means
over tokens and the ratio is of their sum. The guide beside it computes a bounded ratio and then uses the unbounded one.

What we changed: a completion without tokens has no part in the mean, where there it pulls log Z to 0; the exponent is bounded.
No term of the registry: log Z is learned, and no trainer has a head for it yet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.sequence import row_mean

DIVISOR = 1e-8
"""The recipe adds this to the token count under its means."""


@dataclass(frozen=True)
class Balance:
    """Per completion, (B,); 0 for one without tokens."""

    delta: Tensor
    weight: Tensor
    loss: Tensor
    """0-dim: the mean over the completions that have tokens."""


def trajectory_balance(batch: TokenBatch, log_z: Tensor, beta: float = 15.0, cap: float = 10.0) -> Balance:
    """``log_z`` (B,), with gradient; ``batch`` has advantages, old and reference log-probs."""
    here = batch.valid.any(1)

    def mean(x: Tensor) -> Tensor:
        return row_mean(x, batch, DIVISOR)[:, 0]

    reward = beta * mean(batch.token_advantages)
    delta = torch.where(here, log_z + mean(batch.logps) - reward - mean(batch.require("ref_logps")), 0.0)
    # Bounded before the exponential: the sum over a long completion leaves float32.
    weight = batch.log_ratio.detach().sum(1).clamp(max=math.log(cap)).exp()
    weight = torch.where(here, weight, 0.0)
    return Balance(delta, weight, (weight * delta.square()).sum() / here.sum().clamp(min=1))
