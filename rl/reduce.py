"""Masked reductions, order statistics and loss aggregation; the only door to other ranks is an injected Reducer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Reducer(Protocol):
    """Collectives over the ranks. Every rank must make the same calls in the same order."""

    def sum(self, x: Tensor) -> Tensor:
        """Elementwise sum of ``x`` over ranks, same shape."""
        ...

    def gather(self, x: Tensor) -> Tensor:
        """Tensors of possibly different lengths, concatenated along the first dimension in rank order."""
        ...


class Local:
    """One process: nothing to do."""

    def sum(self, x: Tensor) -> Tensor:
        return x

    def gather(self, x: Tensor) -> Tensor:
        return x


LOCAL = Local()


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Sum over tokens with mask 1. ``where`` and not a product: garbage in padding may be inf, and 0 * inf is NaN."""
    return torch.where(mask.bool(), x, 0.0).sum()


def masked_mean(x: Tensor, mask: Tensor, reducer: Reducer = LOCAL) -> Tensor:
    """Mean over the tokens with mask 1 on all ranks of ``reducer``; NaN where there is none."""
    totals = reducer.sum(torch.stack([masked_sum(x, mask), mask.to(x.dtype).sum()]))
    return totals[0] / totals[1]


def masked_totals(values: Sequence[Tensor], mask: Tensor, reducer: Reducer = LOCAL) -> Tensor:
    """(K + 1,) sums of K tensors over the tokens with mask 1 on all ranks, then the count: one collective for all."""
    count = mask.sum().to(values[0].dtype)
    return reducer.sum(torch.stack([*(masked_sum(x, mask) for x in values), count]))


def quantile(x: Tensor, q: float) -> Tensor:
    """Linear-interpolation quantile of a 1-D tensor, bit-equal to torch.quantile but without its 2**24 element limit."""
    ordered = x.sort().values
    # torch takes the rank in the precision of x; beyond its limit, float32 no longer counts the elements.
    as_torch = x.dtype in (torch.float32, torch.float64) and x.numel() <= 2**24
    rank = torch.tensor(q, dtype=x.dtype if as_torch else torch.float64) * (ordered.numel() - 1)
    low = int(rank)
    high = min(low + 1, ordered.numel() - 1)
    return torch.lerp(ordered[low], ordered[high], (rank - low).to(ordered))


def top_mask(score: Tensor, valid: Tensor, count: int, reducer: Reducer = LOCAL) -> Tensor:
    """(B, T) bool: the ``count`` largest scores among the valid tokens of all ranks.

    Exactly ``count`` tokens unless fewer are valid. Ties at the threshold go to the earliest in (rank, row, position)
    order, so that the selection does not depend on a library's top-k.
    """
    if count <= 0:
        return torch.zeros_like(valid)
    local = score[valid]
    best = local.topk(min(count, local.numel())).values
    rank = rank_of(reducer)
    pooled, ranks = reducer.gather(torch.stack([best, torch.full_like(best, rank)], dim=1)).unbind(1)
    if pooled.numel() == 0:
        return torch.zeros_like(valid)
    threshold = pooled.topk(min(count, pooled.numel())).values[-1]
    above = valid & (score > threshold)
    tied = valid & (score == threshold)
    # How many ties this rank may keep: what the strict winners of all ranks and the ties of earlier ranks leave over.
    # Every strict winner is in the pool. Of a rank's ties only as many are as fill its own list, which is all the room.
    room = count - int((pooled > threshold).sum())
    earlier = int(((pooled == threshold) & (ranks < rank)).sum())
    order = tied.flatten().cumsum(0).view_as(tied)
    return above | (tied & (order + earlier <= room))


def rank_of(reducer: Reducer) -> int:
    return int(getattr(reducer, "rank", 0))


def world_of(reducer: Reducer) -> int:
    """How many ranks there are."""
    return int(getattr(reducer, "world", 1))


class Groups(NamedTuple):
    """Values by group."""

    matrix: Tensor
    """(groups, largest group, ...) padded with NaN."""
    row: Tensor
    """(N,) of each value."""
    column: Tensor
    """(N,) of each value."""
    mine: slice
    """Which of the N are this rank's."""

    def flat(self, matrix: Tensor) -> Tensor:
        """A matrix of this shape -> (N, ...) in the order that the values came in, of all ranks."""
        return matrix[self.row, self.column]

    def own(self, matrix: Tensor) -> Tensor:
        """The same, of this rank."""
        return self.flat(matrix)[self.mine]


def group_matrix(x: Tensor, groups: Tensor) -> Groups:
    """(N, ...) values of one rank by group.

    Members keep their order, and groups are ordered by id, so that full groups that arrive in order give exactly
    ``x.view(-1, G)``: the layout in which TRL normalises, bit for bit.
    """
    _, index, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    order = index.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    column = torch.empty_like(index)
    column[order] = torch.arange(index.numel(), device=x.device) - starts[index[order]]
    shape = (counts.numel(), int(counts.max()), *x.shape[1:])
    matrix = torch.full(shape, torch.nan, dtype=x.dtype, device=x.device)
    matrix[index, column] = x
    return Groups(matrix, index, column, slice(0, x.shape[0]))


class Members(NamedTuple):
    """Which rows make up each of G groups of at most n, in their order."""

    rows: Tensor
    """(G, n) int64, 0 where a group has fewer."""
    there: Tensor
    """(G, n) bool."""

    @classmethod
    def of(cls, groups: Tensor) -> Members:
        numbered = torch.arange(groups.size(0), device=groups.device, dtype=torch.float64)
        matrix = group_matrix(numbered, groups).matrix
        return cls(matrix.nan_to_num().long(), ~matrix.isnan())


def all_groups(x: Tensor, groups: Tensor | None, reducer: Reducer) -> Groups:
    """(N, ...) values of this rank by group, over all ranks.

    Groups may straddle ranks. Without ``groups`` all values form one group.
    """
    ids = torch.zeros(x.shape[0], dtype=torch.long, device=x.device) if groups is None else groups
    if reducer is LOCAL:
        return group_matrix(x, ids)
    rank = torch.full_like(ids, rank_of(reducer))
    # One collective: float64 holds every value, id and rank exactly.
    columns = [ids.double().unsqueeze(1), rank.double().unsqueeze(1), x.double().reshape(x.shape[0], -1)]
    pooled = reducer.gather(torch.cat(columns, dim=1))
    every, ranks, values = pooled[:, 0].long(), pooled[:, 1], pooled[:, 2:].to(x.dtype).reshape(-1, *x.shape[1:])
    start = int((ranks < rank_of(reducer)).sum())
    return group_matrix(values, every)._replace(mine=slice(start, start + x.shape[0]))


def nan_std(x: Tensor, dim: int | None = None) -> Tensor:
    """Unbiased standard deviation that ignores NaN; 0 (not NaN) for a single value. TRL's arithmetic, bit for bit."""
    mean = torch.nanmean(x) if dim is None else torch.nanmean(x, dim=dim, keepdim=True)
    squares, present = (x - mean) ** 2, ~torch.isnan(x)
    variance = torch.nanmean(squares) if dim is None else torch.nanmean(squares, dim=dim)
    count = present.sum() if dim is None else present.sum(dim=dim)
    return (variance * (count / (count - 1).clamp(min=1))).sqrt()


AGGREGATIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm")


def aggregate(
    x: Tensor,
    mask: Tensor,
    mode: str = "token-mean",
    *,
    tokens: float | None = None,
    rows: float | None = None,
    length: float | None = None,
) -> Tensor:
    """Per-token loss (B, T) -> scalar, in verl's four modes. Fully masked rows do not count.

    ``tokens``, ``rows`` and ``length`` replace the counts of this batch as the divisor: a rank's share of the global
    ones makes the mean over ranks a global mean. The trainers do not use this: there TRL's own normaliser applies.
    """
    m = mask.to(x.dtype)
    x = torch.where(mask.bool(), x, 0.0)
    divisor = (m.sum(1) > 0).to(x.dtype).sum().clamp(min=1) if rows is None else rows
    if mode == "token-mean":
        return x.sum() / (m.sum().clamp(min=1) if tokens is None else tokens)
    if mode == "seq-mean-token-mean":
        return (x.sum(1) / (m.sum(1) + 1e-8)).sum() / divisor
    if mode == "seq-mean-token-sum":
        return x.sum() / divisor
    if mode == "seq-mean-token-sum-norm":
        return x.sum() / (x.shape[1] if length is None else length)
    raise ValueError(f"unknown aggregation {mode!r}; known: {', '.join(AGGREGATIONS)}")
