"""A wrap around the forward of the innermost model: what a tap computes leaves with the model's output.

It must: under DDP and ZeRO a quantity with gradient that leaves by another way is not seen by the engine.
"""

from __future__ import annotations

import functools
import types
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel


class ForwardTap:
    """A subclass overrides ``forward``, which calls ``self._forward`` or ``with_states`` exactly once."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._forward = model.forward

        @functools.wraps(type(model).forward)  # `generate` checks its arguments against this signature
        def forward(_: Any, *args: Any, **kwargs: Any) -> Any:
            return self.forward(*args, **kwargs)

        model.forward = types.MethodType(forward, model)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._forward(*args, **kwargs)

    def with_states(self, *args: Any, prepend: bool = False, **kwargs: Any) -> tuple[Any, Tensor]:
        """The model's output, and (B, L, D) the backbone's last hidden states; ``prepend``: before other hooks change them."""
        states: list[Tensor] = []
        handle = self.model.base_model.register_forward_hook(
            lambda *call: states.append(call[2].last_hidden_state), prepend=prepend
        )
        try:
            output = self._forward(*args, **kwargs)
        finally:
            handle.remove()
        return output, states[0]
