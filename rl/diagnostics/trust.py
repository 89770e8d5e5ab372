"""How far the policy has moved from the one that generated, token by token, and what the clip of the loss cuts off."""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.bounds import Bounded
from entropostat.rl.sequence import row_mean

NAMES = ("ratio_mean", "clip_low", "clip_high")


@torch.no_grad()
def trust(batch: TokenBatch, bounded: Bounded | None = None, sequence: bool = False) -> tuple[Tensor, Tensor]:
    """(3,) float64 sums over the valid tokens, in the order of NAMES, and (2,) the largest ratio and minus the smallest.

    ``bounded``: what the loss holds at its bounds; None, and one sum only, where it has none. ``sequence``: the ratio is that
    of the whole sequence, length-normalised, as the loss has it.
    """
    x = batch.log_ratio.detach()
    ratio = (row_mean(x, batch).expand_as(x) if sequence else x).exp()
    values = torch.stack([ratio, *(side.to(x.dtype).expand_as(x) for side in bounded or ())])
    ends = torch.stack([ratio, -ratio]).masked_fill_(batch.invalid, -torch.inf).amax((1, 2)).double()
    return values.masked_fill_(batch.invalid, 0.0).double().sum((1, 2)), ends
