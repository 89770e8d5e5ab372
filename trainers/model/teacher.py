"""The model that a policy is compared with over the whole vocabulary: frozen, in evaluation mode, never saved.

It is asked for its last hidden states only, at the very tokens that the policy reads, from within the policy's forward
(vocabulary.py); its head is projected in tiles beside the policy's. Engines hold it as they hold a reference: cut by ZeRO-3
and FSDP, whole elsewhere.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from trl.models import prepare_deepspeed, prepare_fsdp
from trl.trainer.utils import maybe_gather_lm_head_ctx

from entropostat.rl.needs import TEACHER
from entropostat.rl.objective import Objective
from entropostat.rl.vocab_teacher import Side
from entropostat.trainers.model.dropout import turn_off
from entropostat.trainers.model.positions import position_ids, threshold
from entropostat.trainers.model.vocabulary import innermost, logit_head

NOT_READ = ("labels", "fused_lm_head", "logits_to_keep", "use_cache", "output_router_logits")
"""Of what the policy's forward is given, what asks for something else than hidden states."""


class Teacher:
    """A causal language model, which from now on gives hidden states and no logits."""

    def __init__(self, model: Any, trainer: Any) -> None:
        """Raises ValueError for a head that lacks tokens of the policy's tokenizer."""
        inner = innermost(model)
        check_width(inner, trainer)
        model.requires_grad_(False).eval()
        turn_off(model)  # some families read their rates in evaluation mode, too
        self.config = inner.config
        self.inner = inner
        self._first = threshold(inner)
        """Padded length above which it needs position ids; None: never."""
        self._reads = {*inspect.signature(type(inner).forward).parameters}
        backbone = inner.base_model
        inner.forward = types.MethodType(lambda _, **inputs: backbone(**inputs).last_hidden_state, inner)
        self.model = prepared(model, trainer)

    @torch.no_grad()
    def states(self, inputs: Mapping[str, Any]) -> Tensor:
        """(B, L, D) at what the policy's forward has been given."""
        given = {key: value for key, value in inputs.items() if key in self._reads and key not in NOT_READ}
        attention = given.get("attention_mask")
        if self._first is not None and attention is not None and attention.size(1) > self._first:
            given.setdefault("position_ids", position_ids(attention))
        found: Tensor = self.model(**given, use_cache=False)
        return found

    def side(self, hidden: Tensor, temperature: float) -> Side:
        """Its part of a comparison at (M, D) hidden states."""
        output = self.inner.get_output_embeddings()
        weight, bias = (whole(x) for x in (output.weight, getattr(output, "bias", None)))
        gather = functools.partial(maybe_gather_lm_head_ctx, weight, bias)
        return Side(hidden.to(weight.device), weight, bias, logit_head(self.config, temperature), gather)


def attach_teacher(trainer: Any, model: Any, objective: Objective) -> Teacher | None:
    """None where no term of the objective reads one. Raises ValueError where one of the two is there without the other."""
    reader = next((part.name for part in objective.reading if TEACHER in part.needs | part.rollout_needs), None)
    if reader is None and model is not None:
        raise ValueError(
            "teacher: no term of the objective reads it; add distill to objective.penalties, or leave it out"
        )
    if reader is not None and model is None:
        raise ValueError(f"teacher: missing, and {reader} compares with it; give the model that teaches")
    return None if model is None else Teacher(model, trainer)


def check_width(teacher: Any, trainer: Any) -> None:
    """The two heads may be padded differently; what the policy's tokenizer knows must be in both."""
    tokens, width = len(trainer._tokenizer), int(teacher.config.get_text_config().vocab_size)
    if width < tokens:
        raise ValueError(
            f"teacher: {teacher.config.name_or_path} has a vocabulary of {width} entries, and the policy's tokenizer has "
            f"{tokens} tokens; give a teacher with the policy's tokenizer"
        )


def prepared(model: Any, trainer: Any) -> Any:
    """As TRL prepares its reference."""
    accelerator = trainer.accelerator
    if trainer.is_deepspeed_enabled:
        return prepare_deepspeed(model, accelerator)
    if trainer.is_fsdp_enabled:
        return prepare_fsdp(model, accelerator)
    return accelerator.prepare_model(model, evaluation_mode=True)


def whole(parameter: Any) -> Any:
    """What FSDP holds in parts, put together; ZeRO's is gathered where it is read."""
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
