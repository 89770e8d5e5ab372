"""Local stand-ins for what a user would take from the Hub: chat, mixture-of-experts and vision models, and reward models.

Each has some thousand parameters and one token a character. ``saved`` builds one, once a process, and gives its folder.
"""

from __future__ import annotations

import string
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
import trl
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<start_of_image>", "<end_of_image>")
MARKUP = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
"""Tokens that are text: a decoder keeps them."""
VOCABULARY = (*SPECIAL, *MARKUP, *string.printable)
PAD, END = VOCABULARY.index("<|endoftext|>"), VOCABULARY.index("<|im_end|>")
SIZES: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": len(VOCABULARY), "pad_token_id": PAD, "eos_token_id": END,
    "bos_token_id": None, "tie_word_embeddings": False, "max_position_embeddings": 4096,
}  # fmt: skip
CHAT = (
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{%- if m.content is string %}{{ m.content }}"
    "{%- else %}{%- for c in m.content %}{{ 'IMAGE' if c.type == 'image' else c.text }}{%- endfor %}{%- endif %}"
    "{{ '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
"""Without tools, and with images where ``IMAGE`` is replaced."""


def template(name: str) -> str:
    """A chat template that TRL ships, by which it knows how to read tool calls."""
    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()


def tokenizer(chat: str = CHAT, **extra: str) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    core.add_tokens([AddedToken(token, normalized=False) for token in MARKUP])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<|endoftext|>", eos_token="<|im_end|>", unk_token="?", padding_side="left",
        model_max_length=4096, extra_special_tokens=extra,
    )  # fmt: skip
    made.chat_template = chat
    return made


def text(kind: str) -> tuple[PreTrainedModel, Any]:
    """``qwen2``, ``qwen3`` (whose template knows tools), ``moe`` (two experts of four, with a balance loss)."""
    import transformers as t

    if kind == "qwen2":
        return t.Qwen2ForCausalLM(t.Qwen2Config(**SIZES)), tokenizer()
    head = {**SIZES, "head_dim": 8}
    if kind == "qwen3":
        return t.Qwen3ForCausalLM(t.Qwen3Config(**head)), tokenizer(template("qwen3"))
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "norm_topk_prob": True}
    return t.Qwen3MoeForCausalLM(t.Qwen3MoeConfig(**head, **experts)), tokenizer()


def scorer(seed: int) -> tuple[PreTrainedModel, Any]:
    """A reward model."""
    import transformers as t

    torch.manual_seed(seed)
    return t.Qwen2ForSequenceClassification(t.Qwen2Config(**SIZES, num_labels=1)), tokenizer()


def vision(kind: str) -> tuple[PreTrainedModel, Any]:
    """``llava``, and ``gemma3``, whose forward pass wants token types."""
    import transformers as t

    tower = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    if kind == "llava":
        images = t.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
        processor: Any = t.LlavaProcessor(
            image_processor=images, tokenizer=tokenizer(image_token="<image>"), patch_size=14, image_token="<image>",
            vision_feature_select_strategy="default", chat_template=CHAT.replace("IMAGE", "<image>"),
            num_additional_image_tokens=1,
        )  # fmt: skip
        config: Any = t.LlavaConfig(
            text_config=t.LlamaConfig(**SIZES), vision_config=t.CLIPVisionConfig(**tower, image_size=28, patch_size=14),
            image_token_index=VOCABULARY.index("<image>"), image_seq_length=4,
        )  # fmt: skip
        return t.LlavaForConditionalGeneration(config), processor
    marks = {"image_token": "<image>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    processor = t.Gemma3Processor(
        image_processor=t.Gemma3ImageProcessorPil(size={"height": 28, "width": 28}, do_pan_and_scan=False),
        tokenizer=tokenizer(**marks), chat_template=CHAT.replace("IMAGE", "<start_of_image>"), image_seq_length=4,
    )  # fmt: skip
    config = t.Gemma3Config(
        text_config={**SIZES, "head_dim": 8, "sliding_window": 64}, mm_tokens_per_image=4,
        vision_config={**tower, "image_size": 28, "patch_size": 14, "vision_use_head": False},
        boi_token_index=VOCABULARY.index("<start_of_image>"), eoi_token_index=VOCABULARY.index("<end_of_image>"),
        image_token_index=VOCABULARY.index("<image>"), eos_token_id=END, pad_token_id=PAD,
    )  # fmt: skip
    return t.Gemma3ForConditionalGeneration(config), processor


@cache
def saved(kind: str) -> str:
    """The folder of a model with its tokenizer or processor."""
    torch.manual_seed(0)
    makers = {"scorer": lambda: scorer(1), "llava": lambda: vision("llava"), "gemma3": lambda: vision("gemma3")}
    model, processor = makers.get(kind, lambda: text(kind))()
    for module in model.modules():  # a fresh model of this size says nothing: its logits are all alike
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)
    folder = tempfile.mkdtemp(prefix=f"{kind}-")
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.eos_token_id, model.generation_config.pad_token_id = END, PAD
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def model_of(kind: str) -> PreTrainedModel:
    """A copy in memory."""
    import transformers as t

    form = {"scorer": t.AutoModelForSequenceClassification, "llava": t.AutoModelForImageTextToText}
    form["gemma3"] = t.AutoModelForImageTextToText
    model: PreTrainedModel = form.get(kind, t.AutoModelForCausalLM).from_pretrained(saved(kind))
    return model
