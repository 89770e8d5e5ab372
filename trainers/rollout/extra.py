"""Completions that join the ordinary ones in the forward pass and in nothing else.

They ride through TRL's buffer as further batch-first tensors, so that its shuffling and slicing spread them over the
window. In the loss they are appended to the model's input, and cut off again before TRL sees the result: its masks,
advantages and normalisers know the ordinary rows only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.batch import Extra
from entropostat.trainers.trl.aggregation import completion_mask

KEY = "entropostat-extra/"
"""Prefix of our keys in TRL's buffered inputs."""
FIELDS = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")


def buffered(drawn: Mapping[str, Any], weights: Tensor, rows: int, tokens: Tensor) -> dict[str, Tensor]:
    """Keys for TRL's buffer of ``rows`` rows: the completions of non-zero weight on the first places, the others empty."""
    chosen = weights.nonzero()[:, 0]
    fields = {name: drawn[name] for name in FIELDS}
    fields |= {"loss_mask": completion_mask(drawn), "weights": weights}
    places = {}
    for name, value in fields.items():
        places[KEY + name] = value.new_zeros((rows, *value.shape[1:]))
        places[KEY + name][: len(chosen)] = value[chosen]
    return {**places, KEY + "tokens": tokens}


class Joined:
    """One micro-batch with its extra rows: (B + E, P + T) ids and attention for the model, and how to take them apart."""

    def __init__(self, inputs: Mapping[str, Any], ids: Tensor, attention: Tensor, keep: int, pad: int) -> None:
        chosen = inputs[KEY + "weights"] != 0
        mine = {name: inputs[KEY + name][chosen] for name in (*FIELDS, "loss_mask", "weights")}
        self.inputs, self.mine, self.rows, self.keep = inputs, mine, ids.size(0), keep
        left = max(ids.size(1) - keep, mine["prompt_ids"].size(1))
        self.length = max(keep, mine["completion_ids"].size(1))

        def joined(prompts: Tensor, completions: Tensor, extra: Tensor, tail: Tensor, fill: int) -> Tensor:
            halves = [_widened(prompts, extra, left, fill, True), _widened(completions, tail, self.length, fill, False)]
            return torch.cat(halves, dim=1)

        cut = ids.size(1) - keep
        self.ids = joined(ids[:, :cut], ids[:, cut:], mine["prompt_ids"], mine["completion_ids"], pad)
        self.attention = joined(attention[:, :cut], attention[:, cut:], mine["prompt_mask"], mine["completion_mask"], 0)

    @classmethod
    def of(cls, inputs: Mapping[str, Any], args: Sequence[Any], pad: int) -> Joined:
        """``args`` are TRL's to its forward pass: ids, attention, and how many columns are completions."""
        ids, attention, keep, *_ = args
        return cls(inputs, ids, attention, keep, pad)

    def ordinary(self, values: Tensor) -> Tensor:
        """(B + E, T') -> (B, T): what TRL asked for."""
        return values[: self.rows, : self.keep]

    def extra(self, logps: Tensor, entropy: Tensor | None = None) -> Extra:
        width = self.mine["loss_mask"].size(1)
        return Extra(
            logps=logps[self.rows :, :width],
            mask=self.mine["loss_mask"],
            weights=self.mine["weights"],
            tokens=self.inputs[KEY + "tokens"],
            entropy=None if entropy is None else entropy[self.rows :, :width],
        )


def _widened(a: Tensor, b: Tensor, width: int, fill: int, left: bool) -> Tensor:
    """The rows of both, padded to ``width`` columns on one side."""

    def pad(x: Tensor) -> Tensor:
        missing = width - x.size(1)
        return torch.nn.functional.pad(x, (missing, 0) if left else (0, missing), value=fill)

    return torch.cat([pad(a), pad(b).to(a.dtype)])


def replaced(output: dict[str, Any], drawn: Mapping[str, Any], weights: Tensor, pad: int) -> dict[str, Any]:
    """The generation with its first rows replaced by those of non-zero weight, at advantage 1."""
    chosen = weights.nonzero()[:, 0]
    count, new = len(chosen), dict(output)
    for name, left in (("prompt", True), ("completion", False)):
        width = max(output[f"{name}_ids"].size(1), drawn[f"{name}_ids"].size(1))
        for part, fill in (("ids", pad), ("mask", 0)):
            key = f"{name}_{part}"
            new[key] = _widened(drawn[key][chosen], output[key][count:], width, fill, left)
    advantages = output["advantages"].clone()
    if advantages.dim() == 2:
        advantages = torch.nn.functional.pad(advantages, (0, new["completion_ids"].size(1) - advantages.size(1)))
    advantages[:count] = 1.0
    return new | {"advantages": advantages}
