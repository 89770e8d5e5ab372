"""Per-sequence statistics of per-token values."""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch


def row_mean(x: Tensor, batch: TokenBatch, extra: float = 0.0) -> Tensor:
    """(B, 1) mean over the valid tokens of each sequence; 0 for one without any. ``extra`` adds to the divisor."""
    return torch.where(batch.valid, x, 0.0).sum(1, keepdim=True) / (row_count(batch) + extra)


def row_count(batch: TokenBatch) -> Tensor:
    """(B, 1) valid tokens of each sequence, at least 1; never in half precision, which cannot count to 300."""
    dtype = torch.promote_types(batch.logps.dtype, torch.float32)
    return batch.valid.sum(1, keepdim=True, dtype=dtype).clamp(min=1)


def row_quantile(x: Tensor, q: float, batch: TokenBatch) -> Tensor:
    """(B, 1) linear-interpolation quantile over the valid tokens of each sequence; 0 for a sequence without one."""
    ordered = x.masked_fill(batch.invalid, torch.inf).sort(dim=1).values
    rank = q * (row_count(batch) - 1)
    below = rank.floor().long()
    low, high = ordered.gather(1, below), ordered.gather(1, rank.ceil().long())
    quantiles = torch.lerp(low, high, (rank - below).to(low))
    return torch.where(batch.valid.any(1, keepdim=True), quantiles, 0.0)


def texts_of(batch: TokenBatch) -> tuple[str, ...]:
    """The text of each completion."""
    if batch.texts is None:
        raise ValueError("a term reads batch.texts, and nothing filled it")
    return batch.texts


def lengths_of(batch: TokenBatch, unit: str) -> Tensor:
    """(B,) float64 ``tokens`` of each completion, or ``characters`` of its text."""
    if unit == "tokens":
        return batch.require("lengths").double()
    return torch.tensor([len(text) for text in texts_of(batch)], dtype=torch.float64, device=batch.mask.device)
