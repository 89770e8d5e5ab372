"""Distributions of the rollout policy, truncated, that a term keeps for some of its tokens until the loss."""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch


def packed(batch: TokenBatch, chosen: Tensor) -> dict[str, Tensor]:
    """What min_p kept at the chosen tokens: positions (N, R), ids and probabilities (N, R, K), R the most that a row has.

    Batch-first, so that they ride through the trainer's buffer. Places that a row does not need have probabilities 0.
    """
    room = max(1, int(chosen.sum(1).max()))
    positions = chosen.int().argsort(dim=1, descending=True, stable=True)[:, :room]
    used = chosen.gather(1, positions).unsqueeze(2)
    ids, probs = batch.require("min_p_ids"), batch.require("min_p_probs")
    places = positions.unsqueeze(2).expand(-1, -1, ids.shape[2])
    return {
        "soft_positions": positions,
        "soft_ids": torch.where(used, ids.gather(1, places), 0),
        "soft_probs": torch.where(used, probs.gather(1, places), 0.0),
    }
