"""log Z of each prompt inside the policy's wrapped forward (head_tap.py): the head of FlowRL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from entropostat.rl.partition import Partition
from entropostat.trainers.model.head_tap import Head, HeadTap
from entropostat.trainers.model.vocabulary import VocabularyOutput


class PartitionHead(Head):
    """(B, P, H) last hidden states of prompts and their (B, P) mask -> (B,) log Z, in no less than float32."""

    def __init__(self, model: PreTrainedModel, form: Partition, seed: int) -> None:
        """``model`` is the policy without adapters around it. All ranks draw the same weights, and nothing else does."""
        super().__init__()
        self.form = form
        width: int = model.config.get_text_config().hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            hidden = [
                nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width)) for _ in range(form.layers - 1)
            ]
            self.layers = nn.Sequential(*hidden, nn.Linear(width, 1))
        self.to(model.device, torch.promote_types(model.dtype, torch.float32))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        dtype = next(self.layers.parameters()).dtype  # DeepSpeed may have lowered it
        with torch.autocast(states.device.type, enabled=False):
            pooled = self._pooled(states.detach() if self.form.detach else states, mask)
            log_z: Tensor = self.layers(pooled.to(dtype)).squeeze(-1)
        return log_z.to(torch.promote_types(dtype, torch.float32))

    def _pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        """(B, H). Prompts end where their completions begin: padding is before them."""
        states = states.to(torch.promote_types(states.dtype, torch.float32))
        if self.form.pool == "last":
            return states[:, -1]
        there = mask.to(states.dtype).unsqueeze(-1)
        return (states * there).sum(1) / there.sum(1).clamp(min=1)


@dataclass
class PartitionOutput(VocabularyOutput):
    """What the model would give without the head, and what that says."""

    log_z: Tensor | None = None
    """(B,)."""


class PartitionTap(HeadTap):
    """Gives log Z only while it is being read."""

    name, file, what = "entropostat_log_z", "log_z.safetensors", "a head for log Z"
    form = "the loss the layers"

    def __init__(self, model: PreTrainedModel, form: Partition, seed: int) -> None:
        super().__init__(model, PartitionHead(model, form, seed))
        self._prompt = 0
        """Columns of prompts in what the model is given; 0 while nobody reads."""
        self._found: list[Tensor] = []

    @contextmanager
    def reading(self, prompt: int) -> Iterator[None]:
        self._prompt, self._found = prompt, []
        try:
            yield
        finally:
            self._prompt = 0

    def take(self) -> Tensor:
        """(B,) of all calls of the last reading."""
        passes, self._found = self._found, []
        return torch.cat(passes)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self._prompt or not kwargs.get("fused_lm_head"):
            return self._forward(*args, **kwargs)
        # Before other hooks: one of them scales the states by the temperature of the generation.
        output, states = self.with_states(*args, prepend=True, **kwargs)
        log_z = self.head(states[:, : self._prompt], kwargs["attention_mask"][:, : self._prompt])
        self._found.append(log_z)
        return PartitionOutput(**output, log_z=log_z)
