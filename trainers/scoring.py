"""Old log-probs of a generation that TRL did not score itself."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer import add_fused_lm_head

from entropostat.trainers.adapter import REFERENCE

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


def scores_reference(trainer: Any, model: Any) -> bool:
    """Whether a forward of ``model`` is one of the reference: another model, or the policy's with its adapter off."""
    if model is not trainer.model:
        return True
    if not is_peft_model(model):
        return False
    from peft.tuners.tuners_utils import BaseTunerLayer  # an extra, there where adapters are

    layer = next((m for m in model.modules() if isinstance(m, BaseTunerLayer)), None)
    return layer is not None and (layer.disable_adapters or REFERENCE in layer.active_adapters)


def scoring_entropies(trainer: Any) -> Tensor:
    """From now on the reference gives entropies too: TRL leaves them out. Returns an empty tensor, the first of them."""
    if trainer.ref_model is not None:
        add_fused_lm_head(
            trainer.accelerator.unwrap_model(trainer.ref_model),
            temperature=trainer.temperature,
            cast_lm_head_to_fp32=trainer.args.cast_lm_head_to_fp32,
            outputs=("log_probs", "entropy"),
        )
    return torch.zeros(0)


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
