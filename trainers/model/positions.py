"""Positions that count from a row's first token, where a model needs to be told.

TRL scores rows that are padded on the left without position ids. To relative positions the padding is nothing, but a model
with absolute ones (learned or sinusoidal embeddings) then reads every token at another place than in generation, where
transformers passes position ids. Rotary models get none here, so that they score exactly as TRL does, except beyond the
length from which their frequencies or scales depend on the position itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from entropostat.trainers.model.vocabulary import innermost

BY_LENGTH = ("dynamic", "longrope")
"""Rotary embeddings whose frequencies change once a position exceeds the length of pre-training."""


def count_from_first_token(model: nn.Module) -> None:
    """From now on a fused scoring forward of ``model``, not wrapped by an engine, gets position ids if they matter."""
    beyond = threshold(innermost(model))
    if beyond is None:
        return

    # On the outermost module, whose call every engine makes: PEFT calls the forward of the model below it directly.
    def add(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        attention = kwargs.get("attention_mask")
        if attention is None or "position_ids" in kwargs or not kwargs.get("fused_lm_head"):
            return None
        if attention.size(1) <= beyond:
            return None
        return args, kwargs | {"position_ids": position_ids(attention)}

    model.register_forward_pre_hook(add, with_kwargs=True)


def position_ids(attention: Tensor) -> Tensor:
    """(B, L) as generation counts them: 0 at the first token, and 0 on padding."""
    return (attention.long().cumsum(1) - 1).masked_fill(attention == 0, 0)


def threshold(model: Any) -> int | None:
    """Padded length above which ``model`` needs position ids: 0 always, None never."""
    config = model.config.get_text_config()
    if config is not model.config or "position_ids" not in inspect.signature(type(model).forward).parameters:
        return None  # a model of images and text derives its own, of several dimensions, from the mask
    if not _rotary(model):
        return 0
    lengths = [
        rope.get("original_max_position_embeddings") or config.max_position_embeddings
        for rope in _rope_parameters(config)
        if rope.get("rope_type") in BY_LENGTH or rope.get("llama_4_scaling_beta") is not None
    ]
    return min(lengths, default=None)


def _rotary(model: nn.Module) -> bool:
    named = any("rotary" in type(module).__name__.lower() for module in model.modules())
    return named or getattr(model.config, "rotary_dim", None) is not None


def _rope_parameters(config: Any) -> Iterator[dict[str, Any]]:
    """One set, or one for each type of layer."""
    parameters = getattr(config, "rope_parameters", None) or {}
    yield from (
        [parameters] if "rope_type" in parameters else [part for part in parameters.values() if isinstance(part, dict)]
    )
