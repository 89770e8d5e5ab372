"""Sampling from a model outside of TRL: prompts as tokens, the policy as it is, and where a completion ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase

from entropostat.data.example import Example
from entropostat.trainers.trl.stops import together


def prompt_ids(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(N, L) ids padded on the left, and their attention mask."""
    encoded = tokenizer(
        [render(example, tokenizer) for example in examples],
        return_tensors="pt",
        padding=True,
        padding_side="left",
        add_special_tokens=isinstance(examples[0].prompt, str),
    ).to(device)
    return encoded["input_ids"], encoded["attention_mask"]


def render(example: Example, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text that the model continues: the prompt itself, or the conversation in the model's chat template."""
    if isinstance(example.prompt, str):
        return example.prompt
    messages = [dict(message) for message in example.prompt]
    return str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase, stop: Sequence[int] = ()) -> list[int]:
    """What ends a completion: the tokenizer's token and the model's, as in TRL's own generation, and ``stop``."""
    return sorted(together(tokenizer.eos_token_id, model.generation_config.eos_token_id, stop))


def completion_mask(completion: Tensor, ends: list[int]) -> Tensor:
    """(N, T) 1 up to and including the first end token, which the policy chose too."""
    end = torch.isin(completion, torch.tensor(ends, device=completion.device)).long()
    return (end.cumsum(1) - end == 0).long()


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Tensor,
    attention: Tensor,
    tokens: int,
    stop: Sequence[int] = (),
    **options: Any,
) -> Tensor:
    """(N, L) prompts of ``prompt_ids`` with at most ``tokens`` more: ``options`` are those of a GenerationConfig.

    What they leave unset, ``model.generate`` would fill in from the model's own defaults (penalties, truncation), so
    those are put aside.
    """
    sampling = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} if options["do_sample"] else {}
    config = GenerationConfig(
        max_new_tokens=tokens,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end_tokens(model, tokenizer, stop),
        use_cache=True,
        **sampling,
        **options,
    )
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        out: Tensor = model.generate(input_ids=prompt, attention_mask=attention, generation_config=config)
        return out
    finally:
        model.generation_config = own
