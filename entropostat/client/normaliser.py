"""Per-token losses become one number, as the loss's ``type`` says: the normalisers of TRL's loss types, over a whole batch."""

from __future__ import annotations

from torch import Tensor

from entropostat.rl.loss_types import TYPES

BY_TOKENS = ("dapo", "cispo", "vespo")
"""Types that divide the sum by the tokens of the optimizer step, and not by something of each completion."""


def normalised(x: Tensor, mask: Tensor, kind: str, tokens: Tensor, max_length: int | None) -> Tensor:
    """(B, T) -> 0-dim. ``tokens``: 0-dim, what ``BY_TOKENS`` divide by; ``max_length``: of a completion, for dr_grpo."""
    kept = x.where(mask.bool(), 0.0)
    if kind in ("grpo", "sapo"):
        return (kept.sum(1) / mask.sum(1).clamp(min=1)).mean()
    if kind == "bnpo":
        return kept.sum() / mask.sum().clamp(min=1)
    if kind == "dr_grpo" and max_length is not None:
        return kept.sum() / (len(kept) * max_length)
    if kind in BY_TOKENS:
        return kept.sum() / tokens
    if kind == "luspo":
        return kept.sum(1).mean()
    raise ValueError(f"no normaliser is known for the loss type {kind!r}; known: {', '.join(TYPES)}")
