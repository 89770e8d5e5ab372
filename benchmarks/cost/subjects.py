"""The two trainers that are compared: a stock GRPOTrainer and ours, on the same model, data and settings."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass, replace
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from entropostat.recipe.machine_blocks import Tracking
from entropostat.rl.objective import normalise_terms
from entropostat.trainers.grpo import EntropyGRPOTrainer

BETA = 1e-3
"""Coefficient of the KL to the reference, in both."""

PID = {"signal": "kl", "target": 0.01, "effect": "lowers", "space": "log", "ki": 0.01, "start": BETA, "low": 1e-4}

TERMS: dict[str, list[Any]] = {
    "advantages": [{"grpo": {"scale": "group"}}],
    # The band is opened to every covariance above 0: an untrained model has none of the size that the paper's band
    # needs, and a selection that stops at 'nothing admissible' would look cheaper than it is.
    "weights": [{"clip_cov": {"fraction": 2e-3, "low": 0.0, "high": 100.0}}, {"high_entropy": {"fraction": 0.2}}],
    "penalties": [
        {"entropy_bonus": {"coef": 1e-3}},
        {"kl_ref": {"coef": {"pid": PID}}},
    ],
}
"""What the gate is measured with: the terms that a full recipe would combine, one of them under control."""


@dataclass(frozen=True)
class Size:
    """A model and the shape of its batches."""

    name: str
    layers: int
    hidden: int
    vocabulary: int
    tokens: int
    """Completion length: fixed, so that both trainers decode equally often."""
    micro_batch: int = 16
    generations: int = 8
    accumulation: int = 2
    steps_per_generation: int = 4

    @property
    def cycle(self) -> int:
        """Optimizer steps that one generation serves; the old log-probs are needed because it is above 1."""
        return self.steps_per_generation // self.accumulation

    def describe(self) -> str:
        return (
            f"Qwen2, {self.layers} layers x {self.hidden}, vocabulary {self.vocabulary}, completions of {self.tokens} "
            f"tokens, micro-batch {self.micro_batch}, accumulation {self.accumulation}, "
            f"{self.steps_per_generation} micro-batches a generation"
        )


SMALL = Size("small", layers=4, hidden=128, vocabulary=1024, tokens=32)
TINY = Size("tiny", layers=2, hidden=32, vocabulary=32, tokens=8, micro_batch=4, generations=4)

LARGE = Size("large", layers=8, hidden=384, vocabulary=32_000, tokens=32)
"""34M parameters, 25M of them in embeddings and head: what is above stock must not be what grows with the vocabulary."""

LONG = replace(TINY, name="tiny, long window", accumulation=8, steps_per_generation=16)


@functools.lru_cache
def saved(size: Size) -> str:
    """A folder with the untrained model: TRL loads the reference by path."""
    folder = tempfile.mkdtemp(prefix="overhead-")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=2 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=max(2, size.hidden // 32),
        num_key_value_heads=2,
        max_position_embeddings=max(64, 2 * size.tokens),
        tie_word_embeddings=False,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@functools.lru_cache
def tokenizer(size: Size) -> PreTrainedTokenizerFast:
    words = ["<pad>", "<eos>", "<unk>", *(f"w{i}" for i in range(size.vocabulary - 3))]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def reward(completions: list[str], **_: Any) -> list[float]:
    """Any reward that differs within a group will do: the share of the digit 1."""
    return [text.count("1") / max(len(text), 1) for text in completions]


def build(ours: bool, size: Size, steps: int, tracking: Tracking | None = None, **changes: Any) -> GRPOTrainer:
    """A fresh trainer of either kind. ``changes`` are GRPOConfig fields. By default ours monitors every step: the most
    that any step costs."""
    words = min(size.vocabulary - 3, 20)
    rows = size.micro_batch * size.steps_per_generation // size.generations
    prompts = Dataset.from_dict(
        {"prompt": [" ".join(f"w{(i * j) % words}" for j in range(1, 6)) for i in range(max(rows * steps, 16))]}
    )
    options: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(prefix="overhead-run-"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": size.micro_batch,
        "gradient_accumulation_steps": size.accumulation,
        "steps_per_generation": size.steps_per_generation,
        "num_generations": size.generations,
        "max_completion_length": size.tokens,
        "generation_kwargs": {"min_new_tokens": size.tokens},
        "max_steps": steps,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "learning_rate": 1e-6,
        "lr_scheduler_type": "constant",
        "seed": 1,
        "beta": 0.0 if ours else BETA,
        **changes,
    }
    common = {
        "model": saved(size),
        "processing_class": tokenizer(size),
        "reward_funcs": reward,
        "args": GRPOConfig(**options),
        "train_dataset": prompts,
    }
    if not ours:
        trainer = GRPOTrainer(**common)
    else:
        objective: dict[str, Any] = {slot: normalise_terms(terms) for slot, terms in TERMS.items()}
        objective["loss"] = ("trl", "trl", {"type": "dapo"})
        trainer = EntropyGRPOTrainer(**common, objective=objective, tracking=tracking or Tracking(monitor_every=1))
    trainer.remove_callback(PrinterCallback)
    return trainer
