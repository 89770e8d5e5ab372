"""How the entropies of tokens are distributed: over their size, over the completion, over right and wrong.

Everything is a sum or a count, so that micro-batches and ranks add up. Quantiles come from one histogram, whose bins are
narrow where entropies are small:

    edge_i = ceiling (i / BINS)^3          (ceiling = ln V, the largest entropy there is)

A quantile is off by at most the width of its bin: 3 % of its value at ceiling / 1000, less above.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

BINS = 1024
DECILES = 10
QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99}
FORKING = 0.8
"""Quantile of the run's first generation above which a token counts as a fork."""


def counts(entropy: Tensor, valid: Tensor, ceiling: float) -> Tensor:
    """(BINS,) int64 number of valid tokens in each bin. What lies outside of [0, ceiling] counts in the bin at the edge."""
    share = (torch.nan_to_num(entropy).detach().float() / ceiling).clamp(0.0, 1.0)
    place = (share.pow(1 / 3) * BINS).long().clamp(max=BINS - 1)
    place = torch.where(valid, place, BINS).flatten()
    bins = torch.zeros(BINS + 1, dtype=torch.int64, device=entropy.device)
    return bins.index_add_(0, place, torch.ones_like(place))[:BINS]


def edge(index: float, ceiling: float, bins: int = BINS) -> float:
    return float(ceiling * (index / bins) ** 3)


def quantiles(histogram: Sequence[float], at: Sequence[float], ceiling: float) -> list[float]:
    """The quantiles of the counted tokens, by linear interpolation between the two tokens beside each; NaN without any.

    The tokens of a bin are taken to lie evenly in it.
    """
    upto = list(accumulate(histogram))
    if not upto[-1]:
        return [math.nan] * len(at)

    def token(place: int) -> float:
        index = bisect_right(upto, place)
        low, before = edge(index, ceiling), upto[index] - histogram[index]
        return low + (place - before + 0.5) / histogram[index] * (edge(index + 1, ceiling) - low)

    ranks = [q * (upto[-1] - 1) for q in at]
    ends = [(token(math.floor(rank)), token(math.ceil(rank))) for rank in ranks]
    return [low + (rank - math.floor(rank)) * (high - low) for rank, (low, high) in zip(ranks, ends, strict=True)]


def share_above(histogram: Sequence[float], threshold: float, ceiling: float) -> float:
    """Share of the counted tokens above ``threshold``, which is within [0, ceiling]; NaN without any."""
    total = sum(histogram)
    if not total:
        return math.nan
    index = min(int((threshold / ceiling) ** (1 / 3) * BINS), BINS - 1)
    low, high = edge(index, ceiling), edge(index + 1, ceiling)
    part = min(max((high - threshold) / (high - low), 0.0), 1.0)
    return (sum(histogram[index + 1 :]) + part * histogram[index]) / total


def coarse(histogram: Sequence[float], ceiling: float, bins: int) -> tuple[list[float], list[int]]:
    """(bins + 1) edges and (bins) counts to draw. ``bins`` divides BINS."""
    width = BINS // bins
    return (
        [edge(index, ceiling, bins) for index in range(bins + 1)],
        [int(sum(histogram[index : index + width])) for index in range(0, BINS, width)],
    )


def by_position(entropy: Tensor, valid: Tensor) -> Tensor:
    """(2, DECILES) float64: summed entropy, and number, of the valid tokens in each tenth of their completion."""
    index, length = valid.cumsum(1) - 1, valid.sum(1, keepdim=True)
    decile = torch.where(valid, index * DECILES // length.clamp(min=1), DECILES).flatten()
    values = torch.stack([entropy.detach().double(), valid.double()]).flatten(1)  # the column past the last is dropped
    return values.new_zeros(2, DECILES + 1).index_add_(1, decile, values)[:, :DECILES]


def by_outcome(entropy: Tensor, valid: Tensor, right: Tensor) -> Tensor:
    """(2, 3) float64: summed entropy, tokens and completions of those that are right, then of those that are wrong. A completion
    without a valid token is none of them.

    ``right`` (B,) is 1, 0, or NaN where nothing could score the completion.
    """
    rows = torch.stack([torch.where(valid, entropy.detach(), 0.0).sum(1), valid.sum(1), valid.any(1)], dim=1)
    return torch.stack([right == 1, right == 0]).double() @ rows.double()


def by_sequence(entropy: Tensor, valid: Tensor) -> Tensor:
    """(2,) float64: summed means of the completions with a valid token, and their number."""
    length = valid.sum(1)
    means = torch.where(valid, entropy.detach(), 0.0).double().sum(1) / length.clamp(min=1)
    return torch.stack([means.sum(), (length > 0).sum()])
