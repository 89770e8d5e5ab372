"""One micro-batch of a real generation, and its loss and gradient by us and by TRL."""

from __future__ import annotations

from typing import Any

import torch
from trl import GRPOTrainer

from support import tiny

TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")


def recorded(trainer: Any, tool_mask: bool = False) -> dict[str, Any]:
    """One micro-batch of a real generation with ragged masks and ratios that differ from 1."""
    trainer.train()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    inputs = dict(trainer._buffered_inputs[0])
    rows, length = inputs["completion_ids"].shape
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, length, 1, max(length - 2, 1)])[:rows]
    inputs["completion_mask"] = (torch.arange(length)[None] < lengths[:, None]).long()
    if tool_mask:
        inputs["tool_mask"] = (torch.rand(rows, length, generator=generator) > 0.3).long()
    inputs["num_items_in_batch"] = 2.0 * lengths.sum()
    noise = lambda scale: scale * torch.randn(rows, length, generator=generator)
    inputs["old_per_token_logps"] = (noise(0.3) - 3.3) * inputs["completion_mask"]
    if "ref_per_token_logps" in inputs:
        inputs["ref_per_token_logps"] = (noise(0.3) - 3.3) * inputs["completion_mask"]
    inputs["advantages"] = torch.tensor([0.7, -1.1, 0.4, -0.2])[:rows]
    return inputs


def gradient(trainer: Any, inputs: dict[str, Any], compute: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    trainer.model.zero_grad()
    loss = (compute or trainer._compute_loss)(trainer.model, dict(inputs))
    loss.backward()
    gradients = [p.grad.flatten() if p.grad is not None else torch.zeros(p.numel()) for p in trainer.model.parameters()]
    return loss.detach(), torch.cat(gradients)


def stock_loss(trainer: Any) -> Any:
    """TRL's own method on the same trainer, past our overrides."""

    def compute(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        return GRPOTrainer._compute_loss(trainer, model, inputs)

    return compute


def make(path: str, kind: str, spec: dict[str, Any] | None = None, **changes: Any) -> Any:
    loss: dict[str, Any] = {"type": kind}
    if kind == "cispo":
        loss["epsilon_high"] = 5.0
    if level := changes.pop("level", None):
        loss["importance_sampling_level"] = level
    spec = spec or tiny.objective()
    return tiny.ours(path, {**spec, "loss": ("trl", "trl", loss)}, max_steps=1, **changes)


def stock_loss_without_beta(trainer: Any) -> Any:
    def compute(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        before, trainer.beta = trainer.beta, 0.0
        try:
            return GRPOTrainer._compute_loss(trainer, model, inputs)
        finally:
            trainer.beta = before

    return compute
