"""Value heads, and the critic that reads them off hidden states."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from entropostat.recipe.blocks import Critic as CriticBlock
from entropostat.trainers.model.head_tap import Head
from entropostat.trainers.model.shards import gathered

FOR_THE_HEAD = ("labels", "shift_labels", "fused_lm_head", "num_items_in_batch")
"""What a causal language model's forward takes and its backbone does not."""


class ValueHeads(nn.Module):
    """(..., H) last hidden states -> (..., K) values, in the precision of the weights and not below float32."""

    def __init__(self, width: int, block: CriticBlock) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if block.layer_norm else nn.Identity()
        self.heads = nn.ModuleList(_head(width, block) for _ in range(block.heads))

    def forward(self, states: Tensor) -> Tensor:
        dtype = next(self.heads.parameters()).dtype  # DeepSpeed may have lowered it
        with torch.autocast(states.device.type, enabled=False):
            states = self.norm(states.to(dtype))
            values = torch.cat([head(states) for head in self.heads], dim=-1)
        return values.to(torch.promote_types(dtype, torch.float32))


def _head(width: int, block: CriticBlock) -> nn.Module:
    """Linear, or Linear, GELU, Linear as in the release of SAFE; hidden states of size 1 have first values of size init."""
    inner = max(width // 4, 1) if block.hidden else width
    last = nn.Linear(inner, 1)
    nn.init.normal_(last.weight, std=block.init / inner**0.5)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), last) if block.hidden else last


class Critic(Head):
    """V(s) of every position, (B, L, K): of the state that the tokens up to it make."""

    def __init__(self, model: PreTrainedModel, block: CriticBlock, seed: int) -> None:
        """``model`` is the policy without adapters around it. All ranks draw the same weights, and nothing else does."""
        super().__init__()
        self.detach = block.detach
        device, dtype = model.device, torch.promote_types(model.dtype, torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.values = ValueHeads(model.config.get_text_config().hidden_size, block).to(device, dtype)
        self.trunk = _copied(model.base_model) if block.trunk == "separate" else None

    def forward(self, states: Tensor, arguments: dict[str, Any]) -> Tensor:
        """``states`` (B, L, H) are the policy's last hidden ones, ``arguments`` what its forward was called with."""
        if self.trunk is not None:
            given = {key: value for key, value in arguments.items() if key not in FOR_THE_HEAD}
            states = self.trunk(**given | {"use_cache": False}).last_hidden_state
        elif self.detach:
            states = states.detach()
        values: Tensor = self.values(states)
        return values


def _copied(backbone: Any) -> nn.Module:
    """A trainable copy without the hooks, which belong to the policy and would take its trainer along."""
    with gathered(backbone):
        copied: nn.Module = copy.deepcopy(backbone, {id(backbone._forward_hooks): OrderedDict()})
    return copied.requires_grad_(True)
