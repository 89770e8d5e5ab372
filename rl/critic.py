"""A critic of one or several heads: one value out of several, and the loss that trains them.

    softmin(v) = -alpha log( mean over heads of exp(-v / alpha) ),     min <= softmin <= mean

alpha -> 0 is the minimum, alpha -> infinity the mean: Maity 2026, SAFE, arXiv:2602.04651. The minimum of two critics is that
of Fujimoto et al. 2018, arXiv:1802.09477. The clipped loss is PPO's (arXiv:1707.06347).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from entropostat.rl.critic_choices import CLIP_RULES, COMBINATIONS, LOSSES


def combine(values: Tensor, mode: str, alpha: float) -> Tensor:
    """(..., K) values of K heads -> (...). ``alpha`` > 0 is the softness of softmin, in units of the value.

    Where heads are equal all modes give that value, and each head the same share of the gradient.
    """
    if mode == "min":
        return values.amin(-1)
    if mode == "mean":
        return values.mean(-1)
    if mode == "softmin":
        return -alpha * (torch.logsumexp(-values / alpha, -1) - math.log(values.shape[-1]))
    raise ValueError(f"unknown combination {mode!r}; known: {', '.join(COMBINATIONS)}")


def value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    loss: str,
    delta: float,
    clip: float | None,
    rule: str,
) -> Tensor:
    """(B, T) loss of one value per token, or (B, T, K) of K heads; 0, without gradient, where ``mask`` is 0.

    ``values`` and ``old_values`` are alike: combined (B, T), or of each head (B, T, K), which then learns on its own.
    ``returns`` and ``mask`` (B, T). mse is e^2 / 2, huber the same up to |e| = ``delta`` and straight beyond.
    ``clip`` bounds how far a value may move from the old one: the loss is the larger of that of the value and that of the
    bounded value (PPO), or by ``rule: mean`` their mean, half the sum, as SAFE's release; null leaves only the first.
    """
    if values.shape != old_values.shape:
        raise ValueError(
            f"values {tuple(values.shape)} and old_values {tuple(old_values.shape)}: combine both or neither"
        )
    if values.dim() > mask.dim():
        returns, mask = returns.unsqueeze(-1), mask.unsqueeze(-1)
    # Inputs and not the result: a NaN in padding would come back through the gradient.
    v, old, target = (torch.where(mask.bool(), x, 0.0) for x in (values, old_values, returns))
    free = _distance(v, target, loss, delta)
    if clip is None:
        return free
    bounded = _distance(old + (v - old).clamp(-clip, clip), target, loss, delta)
    if rule == "max":
        return torch.maximum(free, bounded)
    if rule == "mean":
        return (free + bounded) / 2
    raise ValueError(f"unknown clip rule {rule!r}; known: {', '.join(CLIP_RULES)}")


def _distance(value: Tensor, target: Tensor, loss: str, delta: float) -> Tensor:
    target = target.expand_as(value)
    if loss == "mse":
        return (value - target).square() / 2
    if loss == "huber":
        return huber_loss(value, target, reduction="none", delta=delta)
    raise ValueError(f"unknown value loss {loss!r}; known: {', '.join(LOSSES)}")
