"""What a generation's text says about exploration: repetition within a completion, distinct completions within a group.

Both compare hashes: a polynomial of the token ids modulo 2^64. Two texts that differ have one hash with probability 1e-15.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from entropostat.rl.reduce import Members, group_matrix

BASE = 6364136223846793005
"""Odd and large: Knuth's multiplier. int64 products wrap."""


@functools.lru_cache(maxsize=32)
def _powers(count: int, device: torch.device) -> Tensor:
    return torch.full((count,), BASE, dtype=torch.int64, device=device).cumprod(0)


def gram_hashes(ids: Tensor, n: int) -> Tensor:
    """(B, T - n + 1) of the n-grams."""
    last = ids.size(1) - n + 1
    return torch.stack([ids[:, k : k + last] * power for k, power in enumerate(_powers(n, ids.device))]).sum(0)


def grams(ids: Tensor, valid: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Their hashes, and bool: all of their tokens are valid."""
    return gram_hashes(ids, n), valid.unfold(1, n, 1).all(2)


def _repeats(hashes: Tensor, whole: Tensor) -> Tensor:
    """(rows, 2): n-grams that their row already held further left, and all n-grams."""
    place = torch.arange(hashes.size(1), device=hashes.device)
    # Values of their own keep those that do not count from looking like repeats: hashes are even, these are odd.
    ordered = torch.where(whole, hashes & ~1, 2 * place + 1).sort(1).values
    return torch.stack([(ordered[:, 1:] == ordered[:, :-1]).sum(1), whole.sum(1)], dim=1)


def repetition(ids: Tensor, valid: Tensor, n: int = 4) -> Tensor:
    """(2,) float64: n-grams that their completion already held further left, and all n-grams. (B, T) ids, bool valid.

    An n-gram with a token that is not the policy's (padding, tool output) does not count.
    """
    if ids.size(1) < n:
        return torch.zeros(2, dtype=torch.float64, device=ids.device)
    return _repeats(*grams(ids, valid, n)).sum(0).double()


def distinct_grams(ids: Tensor, valid: Tensor, members: Members, n: int) -> Tensor:
    """(2,) float64: distinct-n, the different n-grams in all completions of a prompt over all of them (arXiv:1510.03055), summed
    over the groups with any, and the number of these groups. ``members`` of whole groups."""
    if ids.size(1) < n:
        return torch.zeros(2, dtype=torch.float64, device=ids.device)
    hashes, whole = grams(ids, valid, n)
    counted = whole[members.rows] & members.there.unsqueeze(2)
    repeats, every = _repeats(hashes[members.rows].flatten(1), counted.flatten(1)).double().unbind(1)
    there = every > 0
    return torch.stack([torch.where(there, 1 - repeats / every.clamp(min=1), 0.0).sum(), there.sum()])


def fingerprints(ids: Tensor, valid: Tensor) -> Tensor:
    """(B,) float64 hash of each completion's valid tokens and their places: 52 bits, which float64 holds exactly."""
    hashes = (torch.where(valid, ids + 1, 0) * _powers(ids.size(1), ids.device)).sum(1)
    return (hashes.bitwise_right_shift(12) & ((1 << 52) - 1)).double()


def distinct(prints: Tensor, groups: Tensor) -> float:
    """Mean over the groups of two and more of the share of completions that differ from each other; NaN without any.

    (N,) hashes and group ids of all ranks. 1: all differ. 1 / G: a group of G says one thing.
    """
    ordered = group_matrix(prints, groups).matrix.sort(1).values  # NaN, which pads, sorts to the end
    size = (~ordered.isnan()).sum(1)
    changes = (ordered[:, 1:] > ordered[:, :-1]).sum(1)  # false against NaN
    share = ((changes + 1) / size)[size > 1]
    return float(share.double().mean()) if share.numel() else math.nan
