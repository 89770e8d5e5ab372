"""What estimators of single tokens share: sums over later tokens, and whitening over the tokens of a generation."""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reduce import masked_mean


def scored_tokens(batch: TokenBatch) -> Tensor:
    """(B, T) bool: tokens of the policy in completions that have a reward."""
    return batch.valid & ~batch.require("rewards").isnan().unsqueeze(1)


def discounted(x: Tensor, decay: float) -> Tensor:
    """(B, T) sum over k of decay^k x_t+k, by doubling: log2 T passes, and no division that could overflow."""
    reach = 1
    while reach < x.shape[1]:
        x = x + decay**reach * torch.nn.functional.pad(x[:, reach:], (0, reach))
        reach *= 2
    return x


def whitened(x: Tensor, mask: Tensor, batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """(B, T) ``x`` with mean 0 and deviation 1 over the tokens of ``mask`` on all ranks, 0 elsewhere; 0-dim deviation.

    The deviation is NaN below two tokens. The unbiased variance, as verl and TRL take it. In float64: squares of a clamped
    divergence leave float32.
    """
    wide = x.double()
    centred = torch.where(mask, wide - masked_mean(wide, mask, batch.reducer), 0.0)
    count = batch.reducer.sum(mask.sum().double())
    variance = batch.reducer.sum(centred.square().sum()) / (count - 1).clamp(min=1)
    told = torch.where(count > 1, variance.sqrt(), torch.nan)
    return (centred / (variance + 1e-8).sqrt()).to(x.dtype), told.to(x.dtype)
