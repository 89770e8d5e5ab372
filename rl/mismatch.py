"""How far the policy that trains is from the engine that sampled.

Two engines with the same weights give a token different probabilities: kernels, precision and the routing of experts differ.
Importance sampling takes the ratio of the trainer's policy at generation time to the sampler's as a constant. A token whose
log-prob the sampler did not give (NaN) counts as one on which both agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.sequence import row_mean

FAR = 1e4
"""Bound of a log-ratio, nats: the square is finite in every precision that counts losses."""

WINDOWS = ("geometric", "product")
"""Ratios of a sequence: the geometric mean over its tokens, or their product."""


def sampler_log_ratio(batch: TokenBatch) -> Tensor:
    """(B, T) log pi_old - log pi_sampler, a constant; 0 where the mask is 0, infinite where one of them finds it impossible."""
    d = (batch.reference_logps - batch.require("sampler_logps")).detach()
    return torch.where(batch.valid & ~d.isnan(), d, 0.0)


def ratio_of(d: Tensor, clamp: float) -> Tensor:
    """exp(d), d within +-clamp; 0 where d is infinite: a sampler that finds its own token impossible is no evidence."""
    return torch.where(d.isinf(), 0.0, d.clamp(-clamp, clamp).exp())


def sequence_log_ratio(d: Tensor, window: str, batch: TokenBatch, extra: float = 0.0) -> Tensor:
    """(B, 1) sum or mean of the log-ratios of a sequence, in which infinite ones count as 0. ``extra`` adds to the divisor."""
    finite = torch.where(d.isinf(), 0.0, d)
    return finite.sum(1, keepdim=True) if window == "product" else row_mean(finite, batch, extra)


def inside(ratio: Tensor, low: float | None, high: float | None) -> Tensor:
    """bool: between both ends, which belong to it; an end of None is open."""
    kept = torch.ones_like(ratio, dtype=torch.bool)
    kept = kept if low is None else kept & (ratio >= low)
    return kept if high is None else kept & (ratio <= high)


def behaviour(batch: TokenBatch, which: str = "sampler") -> Tensor:
    """(B, T) log-probs of the policy that a token is measured against: the sampler's, where it gave one, or the old policy's."""
    if which == "old":
        return batch.reference_logps.detach()
    sampled = batch.require("sampler_logps")
    return torch.where(sampled.isnan(), batch.reference_logps, sampled).detach()


def probabilities(batch: TokenBatch, other: Tensor) -> Sequence[Tensor]:
    """(B, T) constants log p, log q, p, q of the token under pi and under ``other``; certain where the mask is 0."""
    logs = [
        torch.where(batch.valid, x.detach(), 0.0).nan_to_num(nan=0.0).clamp(-FAR, 0.0) for x in (batch.logps, other)
    ]
    return *logs, logs[0].exp(), logs[1].exp()


def log_likelihood(batch: TokenBatch) -> Tensor:
    """(B, T) log pi with its gradient, none where the token is impossible; exactly 0 where the mask is 0."""
    return batch.difference(batch.logps.new_zeros(()), FAR)
