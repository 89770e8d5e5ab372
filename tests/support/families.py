"""Tiny policies of several families, saved with the tokenizer of tiny.py: absolute, rotary and relative positions."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BioGptConfig,
    BloomConfig,
    FalconConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    LlamaConfig,
    OPTConfig,
    PersimmonConfig,
    PretrainedConfig,
    Qwen2Config,
    XGLMConfig,
)

from support import tiny

SIZE = len(tiny.CHARACTERS) + 3
TOKENS: dict[str, Any] = {"vocab_size": SIZE, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
WIDE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA: dict[str, Any] = {**WIDE, "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 64}
SHORT: dict[str, Any] = {"max_position_embeddings": 64, "num_hidden_layers": 2, "num_attention_heads": 2}

FAMILIES: dict[str, tuple[type[PretrainedConfig], dict[str, Any]]] = {
    "gpt2": (GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}),
    "gpt_neo": (
        GPTNeoConfig,
        {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "max_position_embeddings": 64,
         "attention_types": [[["global", "local"], 1]]},
    ),
    "opt": (OPTConfig, {**SHORT, "hidden_size": 32, "ffn_dim": 64, "word_embed_proj_dim": 32, "layerdrop": 0.0}),
    "biogpt": (BioGptConfig, {**SHORT, "hidden_size": 32, "intermediate_size": 64}),
    "xglm": (
        XGLMConfig,
        {"d_model": 32, "ffn_dim": 64, "num_layers": 2, "attention_heads": 2, "max_position_embeddings": 64},
    ),
    "llama": (LlamaConfig, LLAMA),
    "qwen2": (Qwen2Config, LLAMA),
    "gptj": (GPTJConfig, {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "rotary_dim": 8}),
    "persimmon": (PersimmonConfig, {**WIDE, "intermediate_size": 64, "max_position_embeddings": 64}),
    "falcon": (FalconConfig, {**WIDE, "alibi": False, "new_decoder_architecture": False}),
    "bloom": (BloomConfig, {"hidden_size": 32, "n_layer": 2, "n_head": 2}),
}  # fmt: skip
ABSOLUTE = ("gpt2", "gpt_neo", "opt", "biogpt", "xglm")
ROTARY = ("llama", "qwen2", "gptj", "persimmon", "falcon")


def config(family: str, **changes: Any) -> PretrainedConfig:
    kind, sizes = FAMILIES[family]
    return kind(**{**TOKENS, **sizes, **changes})


def sharp(model: Any) -> Any:
    """Weights so large that a wrong position shows."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def policy(family: str, **changes: Any) -> Any:
    return sharp(AutoModelForCausalLM.from_config(config(family, **changes)))


def reward_model(family: str, **changes: Any) -> Any:
    return sharp(AutoModelForSequenceClassification.from_config(config(family, num_labels=1, **changes)))
