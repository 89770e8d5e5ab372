"""Sampling from a model outside of TRL: prompts as tokens, the policy as it is, and where a completion ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedTokenizerBase

from entropostat.trainers.trl.stops import together


def prompt_ids(
    prompts: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(N, L) ids of prompts as ``rendered`` gives them, padded on the left, and their attention mask."""
    width = max(map(len, prompts))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=device)
    return ids, mask


def completion_ids(
    rows: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(N, T) ids of completions, padded on the right, and their mask. T is at least 1."""
    width = max([1, *map(len, rows)])
    pad = tokenizer.pad_token_id
    ids = torch.tensor([list(row) + [pad] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, mask


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase, stop: Sequence[int] = ()) -> list[int]:
    """What ends a completion: the tokenizer's token and the model's, as in TRL's own generation, and ``stop``."""
    return sorted(together(tokenizer.eos_token_id, model.generation_config.eos_token_id, stop))


def completion_mask(completion: Tensor, ends: list[int]) -> Tensor:
    """(N, T) 1 up to and including the first end token, which the policy chose too."""
    end = torch.isin(completion, torch.tensor(ends, device=completion.device)).long()
    return (end.cumsum(1) - end == 0).long()


def ended(completion: Tensor, ends: list[int]) -> list[list[int]]:
    """The rows of (N, T) completions, each up to and including its first end token."""
    lengths = completion_mask(completion, ends).sum(1).tolist()
    return [row[:length] for row, length in zip(completion.tolist(), lengths, strict=True)]


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Tensor,
    attention: Tensor,
    tokens: int | None,
    stop: Sequence[int] = (),
    processors: Sequence[LogitsProcessor] = (),
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
        **{**sampling, **options},
    )
    own = model.generation_config
    model.generation_config = GenerationConfig()
    also = {"logits_processor": LogitsProcessorList(processors)} if processors else {}
    try:
        out: Tensor = model.generate(input_ids=prompt, attention_mask=attention, generation_config=config, **also)
        return out
    finally:
        model.generation_config = own
