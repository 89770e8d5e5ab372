"""The largest entries of every row, kept while the vocabulary passes by in tiles, and what truncated sampling keeps.

Min-p keeps the tokens with p >= kappa * max p; a nucleus is the smallest set of most likely tokens with mass >= top_p,
with all ties of its last token. Both are read off the ``top_k`` largest entries, never off a full sort. If that many are
too few, the result is that of the sampler which also applies top-k, and the token's ``exact`` flag is false.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 32
"""Entries that are looked at together: only blocks whose maximum beats the smallest kept entry are searched."""
SLICE = 32 * BLOCK
"""Columns per search, so that the copies stay far smaller than a tile."""


def merge_largest(best: Tensor, x: Tensor) -> Tensor:
    """(M, K) the K largest of each row of ``best``, which is sorted downwards, and of (M, W) ``x``."""
    if not x.numel():
        return best
    for start in range(0, x.shape[1], SLICE):
        best = _merge(best, x[:, start : start + SLICE])
    return best


def _merge(best: Tensor, x: Tensor) -> Tensor:
    whole = x.shape[1] - x.shape[1] % BLOCK
    candidates = [best, x[:, whole:]]
    if whole:
        blocks = x[:, :whole].view(x.shape[0], -1, BLOCK)
        peaks = blocks.amax(-1)
        hot = int((peaks > best[:, -1:]).sum(1).max())
        if hot:
            places = peaks.topk(hot, sorted=False).indices.unsqueeze(-1)
            candidates.append(blocks.gather(1, places.expand(-1, -1, BLOCK)).flatten(1))
    if len(candidates) == 2 and whole == x.shape[1]:
        return best
    return torch.cat(candidates, dim=1).topk(best.shape[1]).values


@dataclass(frozen=True)
class Kept:
    """Per token: the statistic, whether the kept set was complete, and the smallest logit in that set."""

    value: Tensor
    exact: Tensor
    edge: Tensor
    mass: Tensor


def min_p(best: Tensor, log_z: Tensor, kappa: float, vocabulary: int) -> Kept:
    """Probability mass of the tokens with p >= kappa * max p."""
    last, bar = best[:, -1], best[:, 0] + math.log(kappa)
    p = torch.where(best >= bar.unsqueeze(1), (best - log_z.unsqueeze(1)).exp(), 0.0)
    exact = (last < bar) | (best.shape[1] >= vocabulary)
    mass = p.sum(1)
    return Kept(mass, exact, torch.maximum(bar, last), mass)


def nucleus(best: Tensor, log_z: Tensor, top_p: float, vocabulary: int) -> Kept:
    """Entropy of the distribution renormalised over its nucleus."""
    logp = best - log_z.unsqueeze(1)
    p = logp.exp()
    total = p.cumsum(1)
    count = (total - p < top_p).sum(1, keepdim=True)
    edge = best.gather(1, count.clamp(min=1) - 1)
    p = torch.where(best >= edge, p, 0.0)
    mass = p.sum(1)
    entropy = mass.log() - (p * logp).sum(1) / mass
    complete = (total[:, -1] >= top_p) & (best[:, -1] < edge[:, 0])
    return Kept(entropy, complete | (best.shape[1] >= vocabulary), edge[:, 0], mass)
