"""Full-distribution statistics inside the wrapped forward: one forward of the model, no [B, T, V] tensor.

TRL's fused head returns log-probs and entropies only. Where a term wants more, the forward that TRL has patched is wrapped
once again: a hook on the backbone keeps the last hidden states for the length of the call, the statistics are computed
there, and they leave with the model's output. They must: under DDP and ZeRO a quantity with gradient that leaves by
another way than the output is not seen by the engine.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput, maybe_gather_lm_head_ctx

from entropostat.rl.vocab import packed, unpacked, vocab_statistics
from entropostat.rl.vocab_sums import Wanted
from entropostat.rl.vocab_tiles import Head

LSE = "lse at "
"""A module's output holds plain tensors only, so each temperature has a name of its own."""


def logit_head(config: Any, temperature: float) -> Head:
    """How ``config``'s family turns a projection into logits, by the keys that TRL 1.16's fused head reads."""
    text = config.get_text_config()
    scale = getattr(text, "logit_scale", None)
    if scale is None:
        scale = getattr(text, "output_multiplier", None)
    if scale is None:
        scale = getattr(text, "lm_head_multiplier", None)
    if scale is None and getattr(text, "logits_scaling", None) is not None:
        scale = text.logits_scaling if text.model_type == "hyperclovax" else 1 / text.logits_scaling
    softcap = getattr(text, "final_logit_softcapping", None)
    return Head(1.0 if scale is None else float(scale), softcap, temperature)


@dataclass
class VocabularyOutput(FusedCausalLMOutput):
    """TRL's output and our statistics. A class of its own, because DDP takes outputs apart and builds them anew."""

    vocabulary: dict[str, Tensor] | None = None


class VocabularyTap:
    """Wraps the forward of the innermost ``model``; computes only while armed, and what it is armed for."""

    def __init__(self, model: PreTrainedModel, temperature: float) -> None:
        self.model = model
        self.head = logit_head(model.config, temperature)
        self._wanted: Wanted | None = None
        self._found: list[dict[str, Tensor]] = []
        self._forward = model.forward

        @functools.wraps(type(model).forward)  # `generate` checks its arguments against this signature
        def forward(_: Any, *args: Any, **kwargs: Any) -> Any:
            return self.forward(*args, **kwargs)

        model.forward = types.MethodType(forward, model)

    @contextmanager
    def armed(self, wanted: Wanted) -> Iterator[None]:
        self._wanted, self._found = wanted, []
        try:
            yield
        finally:
            self._wanted, self._found = None, []

    def take(self, length: int) -> dict[str, Any]:
        """TokenBatch fields, (B, T): the statistics of the last ``length`` positions, of all calls since arming."""
        found, self._found = self._found, []
        if not found:
            return {}
        flat = {name: torch.cat([part[name][:, -length:] for part in found]) for name in found[0]}
        lse = {float(name.removeprefix(LSE)): flat.pop(name) for name in [*flat] if name.startswith(LSE)}
        return {**flat, "lse": lse} if lse else flat

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._wanted is None or not kwargs.get("fused_lm_head"):
            return self._forward(*args, **kwargs)
        hidden: list[Tensor] = []
        handle = self.model.base_model.register_forward_hook(lambda *call: hidden.append(call[2].last_hidden_state))
        try:
            output = self._forward(*args, **kwargs)
        finally:
            handle.remove()
        found = self.statistics(hidden[0][:, :-1], kwargs["labels"][:, 1:], self._wanted)
        self._found.append(found)
        return VocabularyOutput(**output, vocabulary=found)

    def statistics(self, hidden: Tensor, labels: Tensor, wanted: Wanted) -> dict[str, Tensor]:
        """(B, L-1, D) and (B, L-1) with -100 off the scored tokens -> (B, L-1) each, 0 where nothing is scored."""
        mask = labels != -100
        head = self.model.get_output_embeddings()
        rows, targets = packed(hidden, labels, mask)
        gather = functools.partial(maybe_gather_lm_head_ctx, head.weight, head.bias)
        with gather():  # also around the call: autograd notes the weight's shape there
            stats = vocab_statistics(rows, head.weight, targets, wanted, bias=head.bias, head=self.head, gather=gather)
        found = {name: getattr(stats, name) for name in (*wanted.outputs, "min_p_mass", "nucleus_entropy")}
        found |= {f"{LSE}{t}": value for t, value in zip(wanted.temperatures, stats.lse, strict=True)}
        return {name: unpacked(value, mask) for name, value in found.items() if value is not None}


def innermost(model: Any) -> PreTrainedModel:
    """The model that TRL has patched: below the adapters."""
    return model.get_base_model() if is_peft_model(model) else model
