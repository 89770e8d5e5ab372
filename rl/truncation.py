"""The largest entries of every row, kept while the vocabulary passes by in tiles, and what truncated sampling keeps.

Min-p keeps the tokens with p >= kappa * max p, or with p >= kappa if that is absolute; a nucleus is the smallest set of most likely tokens with mass >= top_p,
with all ties of its last token; without its crossing token it is the largest set with mass <= top_p, which may be empty,
and of tied tokens it then holds all or none. Both are read off the ``top_k`` largest entries, never off a full sort. If that many are
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
DROPPED = -1e4
"""Log-probability of what a truncation leaves out: finite, so that it may be subtracted from another."""


def merge_largest(best: Tensor, x: Tensor, ids: Tensor | None, first: int) -> tuple[Tensor, Tensor | None]:
    """(M, K) the K largest of each row of ``best``, which is sorted downwards, and of (M, W) ``x``.

    Likewise their ``ids``, where there are any: those of ``x`` count up from ``first``.
    """
    if not x.numel():
        return best, ids
    for start in range(0, x.shape[1], SLICE):
        best, ids = _merge(best, ids, x[:, start : start + SLICE], first + start)
    return best, ids


def _merge(best: Tensor, ids: Tensor | None, x: Tensor, first: int) -> tuple[Tensor, Tensor | None]:
    whole = x.shape[1] - x.shape[1] % BLOCK
    candidates = [best, x[:, whole:]]
    columns = torch.arange(first, first + x.shape[1], device=x.device)
    names = [columns[whole:].expand(x.shape[0], -1)]
    if whole:
        blocks = x[:, :whole].view(x.shape[0], -1, BLOCK)
        peaks = blocks.amax(-1)
        hot = int((peaks > best[:, -1:]).sum(1).max())
        if hot:
            places = peaks.topk(hot, sorted=False).indices.unsqueeze(-1)
            candidates.append(blocks.gather(1, places.expand(-1, -1, BLOCK)).flatten(1))
            names.append(columns[:whole].view(-1, BLOCK)[places[..., 0]].flatten(1))
    if len(candidates) == 2 and whole == x.shape[1]:
        return best, ids
    largest = torch.cat(candidates, dim=1).topk(best.shape[1])
    return largest.values, None if ids is None else torch.cat([ids, *names], dim=1).gather(1, largest.indices)


@dataclass(frozen=True)
class Kept:
    """Per token: the statistic, whether the kept set was complete, the smallest logit in that set, and its mass."""

    value: Tensor
    exact: Tensor
    edge: Tensor
    mass: Tensor
    p: Tensor
    """(M, K) probabilities, 0 outside of the set."""


def min_p(best: Tensor, log_z: Tensor, kappa: float, vocabulary: int, absolute: bool = False) -> Kept:
    """Probability mass of the tokens with p >= kappa * max p, or with ``absolute`` p >= kappa, which may be none."""
    last, bar = best[:, -1], (log_z if absolute else best[:, 0]) + math.log(kappa)
    p = torch.where(best >= bar.unsqueeze(1), (best - log_z.unsqueeze(1)).exp(), 0.0)
    exact = (last < bar) | (best.shape[1] >= vocabulary)
    mass = p.sum(1)
    return Kept(mass, exact, torch.maximum(bar, last), mass, p)


def among_kept(x: Tensor, kept: Kept, log_z: Tensor, vocabulary: int) -> Tensor:
    """(M,) log-probability of the token with logit ``x`` among the kept ones alone: DROPPED where it is none of them, and
    that of a uniform choice where nothing is kept.
    """
    tiny = torch.finfo(x.dtype).tiny
    logp = torch.where(x >= kept.edge, x - log_z - kept.mass.clamp(min=tiny).log(), DROPPED)
    return torch.where(kept.mass > 0, logp, -math.log(vocabulary))


def nucleus(best: Tensor, log_z: Tensor, top_p: float, vocabulary: int, crossing: bool = True) -> Kept:
    """Entropy of the distribution renormalised over its nucleus; 0 where that is empty."""
    logp = best - log_z.unsqueeze(1)
    p = logp.exp()
    total = p.cumsum(1)
    if not crossing:
        return _below(best, logp, total, top_p, vocabulary)
    count = (total - p < top_p).sum(1, keepdim=True)
    edge = best.gather(1, count.clamp(min=1) - 1)
    p = torch.where(best >= edge, p, 0.0)
    mass = p.sum(1)
    entropy = mass.log() - (p * logp).sum(1) / mass
    complete = (total[:, -1] >= top_p) & (best[:, -1] < edge[:, 0])
    return Kept(entropy, complete | (best.shape[1] >= vocabulary), edge[:, 0], mass, p)


def _below(best: Tensor, logp: Tensor, total: Tensor, top_p: float, vocabulary: int) -> Kept:
    """The nucleus of the tokens that are likelier than the one which takes the mass ``total`` beyond top_p."""
    count = (total <= top_p).sum(1, keepdim=True)
    crosses = count < best.shape[1]
    bar = torch.where(crosses, best.gather(1, count.clamp(max=best.shape[1] - 1)), -torch.inf)
    kept = best > bar
    p = torch.where(kept, logp.exp(), 0.0)
    mass = p.sum(1)
    entropy = torch.where(kept.any(1), mass.log() - (p * logp).sum(1) / mass, 0.0)
    edge = torch.where(kept, best, torch.inf).amin(1)
    return Kept(entropy, crosses[:, 0] | (best.shape[1] >= vocabulary), edge, mass, p)
