"""Adapters, mixtures of experts, images, precisions: the same model trained by stock and by ours is the same model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from PIL import Image
from support import pairs, standins, tiny
from support.log_history import step_rows
from transformers import AutoModelForCausalLM


def adapter() -> LoraConfig:
    return LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)


def loaded(kind: str, **changes: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(standins.saved(kind), **changes)


def in_chat(completions: list[Any], **_: Any) -> list[float]:
    texts = [turns if isinstance(turns, str) else turns[-1]["content"] for turns in completions]
    return [len(text) % 5 + text.count("e") / 2 for text in texts]


def picture(i: int) -> Image.Image:
    pixels = numpy.random.default_rng(i).integers(0, 255, (28 + i, 30, 3))
    return Image.fromarray(pixels.astype(numpy.uint8))


def seen(counts: list[int]) -> Dataset:
    """Prompts with so many images each."""
    prompts = [
        [{"role": "user", "content": [*[{"type": "image"}] * n, {"type": "text", "text": f"What is in {i}?"}]}]
        for i, n in enumerate(counts)
    ]
    return Dataset.from_list([
        {"prompt": prompt, "images": [picture(10 * i + k) for k in range(n)]}
        for i, (prompt, n) in enumerate(zip(prompts, counts, strict=True))
    ])  # fmt: skip


def setup(model: Any, data: Any = None, **own: Any) -> pairs.Setup:
    args = own.pop("args", {})
    return lambda: {
        "model": model() if callable(model) else standins.saved(model), "reward_funcs": in_chat,
        "train_dataset": tiny.prompts(8) if data is None else data(), "args": dict(args),
        **{key: value() for key, value in own.items()},
    }  # fmt: skip


def wrapped() -> Any:
    torch.manual_seed(3)
    return get_peft_model(loaded("qwen2"), adapter())


TALK = [[{"role": "user", "content": f"Say {i}."}] for i in range(4)]
TEXT = {"processing_class": standins.tokenizer}
CASES: dict[str, Callable[[], pairs.Setup]] = {
    "a model that is loaded": lambda: setup(lambda: loaded("qwen2"), **TEXT),
    "tied embeddings, and a head in float32": lambda: setup(
        lambda: tiny.model(tie=True), processing_class=tiny.tokenizer, args={"cast_lm_head_to_fp32": True}
    ),
    "bfloat16": lambda: setup(lambda: loaded("qwen2", dtype=torch.bfloat16), **TEXT),
    "activations computed again": lambda: setup("qwen2", args={"gradient_checkpointing": True}),
    "AdamW": lambda: setup("qwen2", args={"optim": "adamw_torch", "learning_rate": 1e-2}),
    "experts with a balance loss": lambda: setup("moe", args={"router_aux_loss_coef": 0.1}),
    "experts": lambda: setup("moe", args={"router_aux_loss_coef": 0.0, "beta": 0.1}),
    "an adapter": lambda: setup("qwen2", peft_config=adapter),
    "an adapter, and its base as the reference": lambda: setup("qwen2", peft_config=adapter, args={"beta": 0.1}),
    "a wrapped model": lambda: setup(wrapped, **TEXT),
    "a wrapped model, and itself as the reference": lambda: setup(wrapped, **TEXT, args={"beta": 0.1}),
    "images, llava": lambda: setup("llava", lambda: seen([1, 1, 1, 1])),
    "several images, llava": lambda: setup("llava", lambda: seen([1, 2, 2, 1]), args={"beta": 0.1}),
    "images, gemma3": lambda: setup("gemma3", lambda: seen([1, 1, 1, 1])),
    "a vision model without images": lambda: setup("llava", lambda: Dataset.from_dict({"prompt": TALK})),
}
OWN = ("experts with a balance loss", "an adapter, and its base as the reference", "several images, llava")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_ours_trains_the_model_that_stock_trains(case: str) -> None:
    stock, _ = pairs.agree(CASES[case](), own=case in OWN)
    logged = step_rows(stock)
    assert ("aux_loss" in logged[0]) == (case == "experts with a balance loss")


def test_the_stand_ins_are_small() -> None:
    for kind in ("qwen2", "qwen3", "moe", "scorer", "llava", "gemma3"):
        assert sum(p.numel() for p in standins.model_of(kind).parameters()) < 100_000
