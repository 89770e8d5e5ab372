"""Exact entropy of a policy on given completions."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from entropostat.trainers.model.positions import position_ids

ELEMENTS = 1 << 26
"""Logits held at once: 256 MB in float32."""


@torch.no_grad()
def completion_entropy(model: Any, ids: Tensor, attention: Tensor, width: int, temperature: float = 1.0) -> Tensor:
    """(N, T) entropy in nats, over the whole vocabulary at ``temperature``, of the distribution that each completion
    token was drawn from; 0 where ``attention`` (N, P+T) is 0. ``width`` is P, the prompt's padded length.

    Works a few rows at a time, so that memory does not grow with the number of sequences.
    """
    length = ids.shape[1] - width
    parameters = inspect.signature(_innermost(model).forward).parameters
    rows = max(1, ELEMENTS // ((length + 1) * model.config.get_text_config().vocab_size))
    out = []
    for part, mask in zip(ids.split(rows), attention.split(rows), strict=True):
        options: dict[str, Any] = {"use_cache": False}
        if "position_ids" in parameters:
            options["position_ids"] = position_ids(mask)
        if "logits_to_keep" in parameters:
            options["logits_to_keep"] = length + 1
        logits = model(input_ids=part, attention_mask=mask, **options).logits[:, -length - 1 : -1]
        entropy = torch.special.entr((logits.float() / temperature).softmax(-1)).sum(-1)
        out.append(torch.where(mask[:, width:].bool(), entropy, 0.0))
    return torch.cat(out)


def _innermost(model: Any) -> Any:
    """A PEFT wrapper's own signature says nothing."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
