"""The critic inside the policy's wrapped forward (head_tap.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from entropostat.recipe.blocks import Critic as CriticBlock
from entropostat.trainers.model.critic_heads import Critic
from entropostat.trainers.model.head_tap import HeadTap
from entropostat.trainers.model.vocabulary import VocabularyOutput

NAME = "entropostat_critic"
FILE = "critic.safetensors"


@dataclass
class CriticOutput(VocabularyOutput):
    """What the model would give without a critic, and the values."""

    state_values: Tensor | None = None
    """(B, L, K). Not `values`, which is a method of every output."""


class CriticTap(HeadTap):
    """Gives values only while armed."""

    name, file, what = NAME, FILE, "a critic"
    form = "the critic block the trunk, heads, hidden and layer_norm"

    def __init__(self, model: PreTrainedModel, block: CriticBlock, seed: int) -> None:
        self.critic = Critic(model, block, seed)
        super().__init__(model, self.critic)
        self._armed = False
        self._found: list[Tensor] = []

    @contextmanager
    def armed(self) -> Iterator[None]:
        self._armed, self._found = True, []
        try:
            yield
        finally:
            self._armed, self._found = False, []

    def take(self, length: int) -> Tensor | None:
        """(B, length + 1, K): values before each of the last ``length`` tokens and after them, of all calls since the
        last taking; None without a call."""
        passes, self._found = self._found, []
        return torch.cat([values[:, -length - 1 :] for values in passes]) if passes else None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self._armed or not kwargs.get("fused_lm_head"):
            return self._forward(*args, **kwargs)
        # Before other hooks: one of them scales the states by the temperature of the generation.
        output, states = self.with_states(*args, prepend=True, **kwargs)
        values = self.critic(states, kwargs)
        self._found.append(values)
        return CriticOutput(**output, state_values=values)
