"""How far the policy has moved from the one that generated, token by token, and what the clip of the loss cuts off."""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.sequence import row_mean

NAMES = ("ratio_mean", "clip_low", "clip_high")


@torch.no_grad()
def trust(batch: TokenBatch, sequence: bool = False) -> tuple[Tensor, Tensor]:
    """(3,) float64 sums over the valid tokens, in the order of NAMES, and (2,) the largest ratio and minus the smallest.

    ``sequence``: the ratio is that of the whole sequence, length-normalised, as the loss has it. Low: A < 0 and the ratio
    below the clip range; high: A > 0 and above. Both 0 without a clip.
    """
    x = batch.log_ratio.detach()
    ratio = (row_mean(x, batch).expand_as(x) if sequence else x).exp()
    low, high = batch.clip or (0.0, torch.inf)
    a = batch.token_advantages
    values = torch.stack([ratio, ((a < 0) & (ratio < low)).to(x.dtype), ((a > 0) & (ratio > high)).to(x.dtype)])
    ends = torch.where(batch.valid, torch.stack([ratio, -ratio]), -torch.inf).amax((1, 2)).double()
    return torch.where(batch.valid, values, 0.0).double().sum((1, 2)), ends
