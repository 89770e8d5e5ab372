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
    padded = torch.nn.functional.pad(packed, (window, 0))
    before = padded.unfold(1, window, 1)[:, : packed.size(1)]
    bar = (before.mean(-1) + k * before.std(-1, correction=1).clamp(min=least_std)).clamp(min=least)
    early = torch.arange(packed.size(1), device=packed.device) < window
    jumps = packed > torch.where(early, first, bar)
    return jumps.gather(1, place) & valid


def _packed(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T) the valid values of each row first, and where each token's went."""
    order = valid.int().argsort(dim=1, descending=True, stable=True)
    return torch.where(valid, values, 0.0).gather(1, order), order.argsort(dim=1)
