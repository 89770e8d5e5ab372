"""TRL's per-token-loss normaliser for each loss type: how our additive terms land on the scale of TRL's own loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

SUMMED = ("dapo", "cispo", "vespo")
"""Loss types that divide the sum over tokens by the tokens of the accumulation window."""


def aggregate(trainer: Any, x: Tensor, inputs: dict[str, Any], tokens: Tensor) -> Tensor:
    """(B, T) per-token term -> scalar, exactly as ``GRPOTrainer._compute_loss`` of TRL 1.16 reduces its own.

    ``tokens`` is what ``tokens_per_micro_batch`` gives: the caller has it already. A contract test compares every branch
    with TRL's KL term, so that a changed normaliser upstream turns it red.
    """
    mask = completion_mask(inputs)
    training = trainer.model.training
    steps: float = trainer.current_gradient_accumulation_steps if training else 1.0
    kind = trainer.loss_type
    if kind in ("grpo", "sapo"):
        rows: Tensor = (x * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)
        return rows.mean() / steps
    if kind == "bnpo":
        return (x * mask).sum() / mask.sum().clamp(min=1.0) / steps
    if kind == "dr_grpo":
        places: int = x.size(0) * trainer.max_completion_length
        return (x * mask).sum() / places / steps
    if kind in SUMMED:
        return (x * mask).sum() / (tokens * steps)
    if kind == "luspo":
        return (x * mask).sum(-1).mean() / steps
    raise ValueError(f"no normaliser is known for TRL's loss type {kind!r}")


def tokens_per_micro_batch(trainer: Any, inputs: dict[str, Any]) -> Tensor:
    """0-dim: the tokens of the generation batch, shared out evenly over ranks and micro-batches."""
    tokens: Tensor = inputs["num_items_in_batch"].clamp(min=1.0) / trainer.accelerator.num_processes
    return tokens / trainer.args.steps_per_generation if trainer.model.training else tokens


def completion_mask(inputs: Mapping[str, Any]) -> Tensor:
    """(B, T) 1 on tokens that the policy produced: padding and tool output are 0."""
    mask: Tensor = inputs["completion_mask"]
    return mask if "tool_mask" not in inputs else mask * inputs["tool_mask"]
