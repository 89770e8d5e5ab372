"""A reward model's score of a padded row is that of the row alone.

A classification head of a decoder reads the last token that is not the configured padding token; a model without one can
score single rows only. So padding is filled with the token that the model itself was configured with, whatever its
tokenizer pads with: another token would be read as the end of the text, and the tokenizer's, taken for padding, would hide an end
token that the head has learned to read. A model that knows no padding token gets one outside of its vocabulary, which no text holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers import AutoConfig, PreTrainedModel

OUTSIDE = -1
"""Not in any vocabulary; its embedding is never read."""


def configured_pad(model: Any, revision: str | None = None) -> int | None:
    """The padding token of a reward model, given as such or by its path, as it was saved with; None for anything else."""
    if isinstance(model, str):
        config = AutoConfig.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
    elif isinstance(model, PreTrainedModel):
        config = model.config
    else:
        return None
    pad: int | None = config.get_text_config().pad_token_id
    return pad


def score_as_alone(model: PreTrainedModel, pad: int | None) -> None:
    """From now on ``model`` scores rows, padded on the right by whatever token, as it scores each of them alone.

    ``pad`` is the padding token that it was configured with.
    """
    config = model.config.get_text_config()
    if pad is None or not 0 <= pad < config.vocab_size:
        pad = OUTSIDE
        model.get_input_embeddings().register_forward_pre_hook(_inside)
    config.pad_token_id = pad

    def fill(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        ids, attention = kwargs.get("input_ids"), kwargs.get("attention_mask")
        if ids is None or attention is None:
            return None  # nothing is padded
        return args, kwargs | {"input_ids": ids.masked_fill(attention == 0, pad)}

    model.register_forward_pre_hook(fill, with_kwargs=True)


def _inside(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    ids, *rest = args
    return ids.clamp(min=0), *rest


class OwnPadding:
    """Reward models that the trainer itself is given: TRL gives them their tokenizer's padding token in place of their own."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        """``named``: the trainer's arguments, before it has read them."""
        given = named.get("reward_funcs")
        given = given if isinstance(given, list) else [given]
        revision = (named["args"].model_init_kwargs or {}).get("revision")
        self._pads = [configured_pad(model, revision) for model in given]

    def settle(self, trainer: Any) -> None:
        for model, pad in zip(trainer.reward_funcs, self._pads, strict=False):  # environments bring further rewards
            if isinstance(bare := unwrapped(trainer.accelerator, model), PreTrainedModel):
                score_as_alone(bare.train(False), pad)


def unwrapped(accelerator: Any, model: Any) -> Any:
    """A function is no model and stays as it is."""
    return accelerator.unwrap_model(model) if isinstance(model, nn.Module) else model
