"""Cov(log pi, A) per token and the random draw among tokens: shared by Clip-Cov, KL-Cov and the diagnostics."""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reduce import masked_totals


def token_covariance(batch: TokenBatch) -> Tensor:
    """(B, T) (A - mean A)(log pi - mean log pi), means over the valid tokens of all ranks; 0 where the mask is 0.

    Cui et al. 2025, arXiv:2505.22617, Eq. 10: Theorem 2's covariance, pooled over the tokens of all states.
    """
    return covariance_and_count(batch)[0]


def covariance_and_count(batch: TokenBatch) -> tuple[Tensor, int]:
    """The covariance and the number of valid tokens of all ranks, which its means need anyway."""
    (covariance,), count = covariances(batch, batch.token_advantages)
    return covariance, count


def covariances(batch: TokenBatch, *values: Tensor) -> tuple[list[Tensor], int]:
    """(B, T) (x - mean x)(log pi - mean log pi) of each (B, T) x, and the number of valid tokens of all ranks: one collective."""
    logps = batch.logps.clamp(min=-1e4)  # one -inf must not take the mean with it
    *sums, sum_l, count = masked_totals([*values, logps], batch.mask, batch.reducer).unbind()
    centred = logps - sum_l / count.clamp(min=1)
    found = [(x - total / count.clamp(min=1)) * centred for x, total in zip(values, sums, strict=True)]
    return [torch.where(batch.valid, x, 0.0) for x in found], int(count)


def token_count(batch: TokenBatch) -> int:
    """Valid tokens of all ranks."""
    return int(batch.reducer.sum(batch.valid.sum()))


def clipped_tokens(batch: TokenBatch) -> Tensor:
    """(B, T) bool: tokens whose gradient the active loss already clips away (strictly)."""
    if batch.clip is None:
        return torch.zeros_like(batch.valid)
    a, ratio = batch.token_advantages, batch.ratio
    return batch.valid & (-a * ratio.clamp(*batch.clip) > -a * ratio)


def selection_keys(batch: TokenBatch) -> Tensor:
    """(B, T) float64 in [0, 1): a counter-based hash of (seed, generation, sequence uid, position), or ``batch.keys``.

    Never the global RNG: the draw must not depend on rank, slice or on what else has drawn before.
    """
    if batch.keys is not None:
        return batch.keys
    rows, columns = batch.mask.shape
    device = batch.mask.device
    uids = batch.uids if batch.uids is not None else torch.arange(rows, device=device)
    x = _mix(torch.full((1, 1), batch.seed, dtype=torch.int64, device=device))
    x = _mix(x ^ batch.generation)
    x = _mix(x ^ uids.view(-1, 1))
    x = _mix(x ^ torch.arange(columns, device=device).view(1, -1))
    return (x.bitwise_right_shift(11) & ((1 << 53) - 1)).double() / float(1 << 53)


def _mix(x: Tensor) -> Tensor:
    """splitmix64's finaliser; int64 multiplication wraps, shifts are made logical by a mask."""
    x = x + -7046029254386353131
    x = (x ^ (x.bitwise_right_shift(30) & ((1 << 34) - 1))) * -4658895280553007687
    x = (x ^ (x.bitwise_right_shift(27) & ((1 << 37) - 1))) * -7723592293110705685
    return x ^ (x.bitwise_right_shift(31) & ((1 << 33) - 1))
