"""Steps of a completion whose entropy jumps above what came before it.

The detector of SRGen (arXiv:2510.02919; 2020-qqtcg/SRGen@61be0b3), read as a monitor: over the last ``window`` entropies before
a token, in nats,

    H_t > max(mean + k max(std, least_std), least)     std with n - 1;  before there are that many: H_t > first
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def spikes(
    entropy: Tensor,
    mask: Tensor,
    window: int = 25,
    k: float = 4.0,
    least_std: float = 0.5,
    least: float = 1.8,
    first: float = 3.0,
) -> Tensor:
    """(B, T) bool: the tokens at which (B, T) ``entropy`` jumps. Tokens outside of the mask neither jump nor count."""
    valid = mask.bool()
    packed, place = _packed(entropy.double(), valid)
    mean, std = _before(packed, window)
    bar = (mean + k * std.clamp(min=least_std)).clamp(min=least)
    early = torch.arange(packed.size(1), device=packed.device) < window
    jumps = packed > torch.where(early, first, bar)
    return jumps.gather(1, place)  # what is masked was packed as 0, which is no jump


def _before(packed: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation, with n - 1, of the ``window`` values before each, of which some are 0 at the start: from running sums,
    in float64, whose rounding is 1e-12 of an entropy."""
    values = torch.stack([packed, packed.square()])
    sums = torch.nn.functional.pad(values, (window + 1, 0)).cumsum(-1)
    total, squares = sums[..., window:-1] - sums[..., : -1 - window]
    mean = total / window
    return mean, ((squares - total * mean) / (window - 1)).clamp(min=0).sqrt()


def _packed(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T) the valid values of each row first, and where each token's went."""
    order = valid.int().argsort(dim=1, descending=True, stable=True)
    return torch.where(valid, values, 0.0).gather(1, order), order.argsort(dim=1)
