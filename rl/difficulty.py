"""How hard a prompt is for the policy: the share of its completions that are right."""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reduce import all_groups

BUCKETS = ("easy", "medium", "hard")
"""At least two thirds of the scored completions are right; at least one third; fewer."""


def right(batch: TokenBatch, success: float) -> Tensor:
    """(B,) bool: the verifiers gave more than ``success``. Never where nothing could score."""
    return batch.require("unshaped") > success


DECIDES = (
    "what says that a completion is right. judge: a score of 1 of the verifier that decides in evaluation, and the sum where that "
    "has no say; sum: the verifiers' weighted sum, which form may also lift"
)
"""Of an option with the choices BY."""
BY = ("judge", "sum")


def decided(batch: TokenBatch, by: str, success: float) -> Tensor:
    """(B,) bool: right ``by`` the judge, as evaluation counts it, or by the verifiers' sum. Never where nothing could score."""
    summed = right(batch, success)
    if by == "sum" or batch.judged is None:
        return summed
    return torch.where(batch.judged.isnan(), summed, batch.judged >= 1) & ~batch.require("unshaped").isnan()


def bucket(rights: Tensor) -> Tensor:
    """(...) index into BUCKETS from (..., G) of 1, 0 and, for completions without a score, NaN; -1 where all are NaN.

    Counted in whole numbers: a third is none in binary.
    """
    hits, scored = rights.nansum(-1).round().long(), (~rights.isnan()).sum(-1)
    found = 2 - (3 * hits >= scored).long() - (3 * hits >= 2 * scored).long()
    return torch.where(scored > 0, found, -1)


def prompt_bucket(batch: TokenBatch, success: float) -> Tensor:
    """(B,) of each completion that of its prompt, whichever ranks hold the prompt's completions."""
    rights = right(batch, success).to(batch.logps.dtype).masked_fill(batch.require("unshaped").isnan(), torch.nan)
    groups = all_groups(rights, batch.groups, batch.reducer)
    return bucket(groups.matrix)[groups.row][groups.mine]
