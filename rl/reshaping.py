"""What advantage terms that reshape a chain share: the advantages before them, factors of prompts, entropies of the old policy."""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reduce import Groups, masked_mean


def advantages_before(batch: TokenBatch, term: str) -> Tensor:
    """(B,) or (B, T) what the chain computed so far. Raises where ``term`` is the first of the chain."""
    if batch.advantages is None:
        raise ValueError(
            f"objective.advantages: {term} reshapes advantages and is the first term; "
            f"put a base estimator before it, e.g. [grpo: {{}}, {term}: {{}}]"
        )
    return batch.advantages


def times_per_prompt(before: Tensor, factor: Tensor, groups: Groups) -> Tensor:
    """``before`` (B,) or (B, T), times the factor (P,) of its prompt, which a completion has even where it has no reward."""
    own = groups.own(factor.unsqueeze(1).expand(groups.matrix.shape[:2])).to(before.dtype)
    return before * (own.unsqueeze(1) if before.dim() == 2 else own)


def mean_over(x: Tensor, where: Tensor) -> Tensor:
    """0-dim mean of the (P,) where that is true; NaN where it nowhere is."""
    return torch.where(where, x, 0.0).sum() / where.sum()


def token_entropy(batch: TokenBatch) -> Tensor:
    """(B, T) entropy of the policy that generated, nats; 0 where the mask is 0."""
    return torch.where(batch.valid, batch.require("old_entropy"), 0.0)


def token_logp(batch: TokenBatch) -> Tensor:
    """(B, T) log pi of the policy that generated, finite; 0 where the mask is 0."""
    return torch.where(batch.valid, torch.nan_to_num(batch.require("old_logps"), nan=0.0).clamp(-1e4, 0.0), 0.0)


def token_probability(batch: TokenBatch) -> Tensor:
    """(B, T) pi of the policy that generated; 1 where the mask is 0."""
    return token_logp(batch).exp()


def mean_entropy(batch: TokenBatch) -> Tensor:
    """0-dim: token mean over all ranks."""
    return masked_mean(token_entropy(batch), batch.mask, batch.reducer)


def sequence_entropy(batch: TokenBatch) -> Tensor:
    """(B,) token mean of each completion; 0 for one without tokens."""
    return token_entropy(batch).sum(1) / batch.mask.sum(1).clamp(min=1)
