"""Where a policy loss holds tokens at a bound, for the log: the loss itself never asks."""

from __future__ import annotations

from torch import Tensor

from entropostat.rl.batch import TokenBatch

Bounded = tuple[Tensor, Tensor]
"""(low, high), bool: the ratio is beyond that bound, on the side to which the advantage pushes it. (B, T), or (B, 1) where
one ratio and one advantage hold for a sequence."""


def beyond(batch: TokenBatch, ratio: Tensor, low: Tensor | float, high: Tensor | float) -> Bounded:
    """Low: A < 0 and ``ratio`` below ``low``; high: A > 0 and above ``high``."""
    a = batch.require("advantages")
    a, ratio = a.unsqueeze(1) if a.dim() == 1 else a, ratio.detach()
    return (a < 0) & (ratio < low), (a > 0) & (ratio > high)
