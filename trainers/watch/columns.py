"""What all ranks must know of each completion: one row a completion, gathered with the advantages."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from entropostat.rl.answers import answer_prints
from entropostat.rl.batch import TokenBatch
from entropostat.rl.diagnostics import text
from entropostat.rl.reduce import rank_of


class Columns(NamedTuple):
    """(B,) float64 each."""

    group: Tensor
    right: Tensor
    drawn: Tensor
    reward: Tensor
    fingerprint: Tensor
    answer: Tensor
    rank: Tensor
    width: Tensor
    """T of the rank's batch."""
    tokens: Tensor
    """Sums over the tokens of the completion of 1, A, log pi, A log pi, pi A and pi A log pi."""
    advantage: Tensor
    logp: Tensor
    product: Tensor
    weighted: Tensor
    weighted_product: Tensor

    def covariances(self) -> tuple[float, float, float, float]:
        """Of log pi with A, and with pi A, over all tokens; and the means of A and of log pi."""
        count, *sums = torch.stack(self[-6:]).sum(1).tolist()
        a, logp, both, weighted, weighted_both = (total / count for total in sums)
        return both - a * logp, weighted_both - weighted * logp, a, logp


def columns(ids: Tensor, batch: TokenBatch, right: Tensor, drawn: Tensor) -> Tensor:
    """(B, K) float64, in the order of ``Columns``. ``batch`` has the rewards as the verifiers gave them."""
    own = Columns(
        groups_of(batch),
        right,
        drawn,
        batch.require("rewards"),
        text.fingerprints(ids, batch.valid),
        answer_prints(batch),
        torch.full_like(right, rank_of(batch.reducer)),
        torch.full_like(right, ids.size(1)),
        *_products(batch),
    )
    return torch.stack([x.double() for x in own], dim=1)


def groups_of(batch: TokenBatch) -> Tensor:
    """(B,) int64. Without groups each completion is its own."""
    return batch.require("uids") if batch.groups is None else batch.groups


def _products(batch: TokenBatch) -> Tensor:
    """(6, B) the sums."""
    logp = batch.reference_logps.clamp(min=-1e4)
    a = batch.token_advantages.to(logp.dtype)
    weighted = logp.exp() * a
    values = torch.stack([torch.ones_like(logp), a, logp, a * logp, weighted, weighted * logp])
    return values.masked_fill(batch.invalid, 0.0).sum(2)
