"""Old log-probs of a generation that TRL did not score itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trl.models.utils import disable_gradient_checkpointing

VISION = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)
"""What a vision-language model's forward takes besides ids and masks, by TRL's names."""


def score_tokens(trainer: Any, output: dict[str, Any]) -> Tensor:
    """(N, T) old log-probs: one forward, which an exactly on-policy TRL skips. The trainer's tap keeps the rest of it."""
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    attention = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
    args = trainer.args
    size = args.per_device_train_batch_size if trainer.model.training else args.per_device_eval_batch_size
    extra = {key: output[key] for key in VISION if key in output}
    with torch.no_grad(), disable_gradient_checkpointing(trainer.model, args.gradient_checkpointing_kwargs):
        logps, *_ = trainer._get_per_token_logps_and_entropies(
            trainer.model,
            ids,
            attention,
            output["completion_ids"].size(1),
            batch_size=size,
            compute_entropy=True,
            **extra,
        )
    return logps
