"""Small models on a CPU, measured: what the formulas of entropostat/scaling say of them, and what they hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from transformers import GenerationConfig, LlamaConfig, Qwen2Config, Qwen3Config
from transformers.models.auto import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from benchmarks.cost.counting import Meter
from entropostat.scaling.activations import kept
from entropostat.scaling.item import GENERATE, HEAD, LAYERS
from entropostat.scaling.memory import memory
from entropostat.scaling.run import Run
from entropostat.scaling.shape import from_config

SIZES = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 2048,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
FAMILIES = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig}
SMALL = Run(
    from_config({"model_type": "qwen2", **SIZES}), "single", world=1, micro=4, prompt=32, completion=96, device="cpu"
)
"""Small enough for a core, and large enough for the layers to outweigh what is not counted."""

WEIGHT_TRAFFIC: dict[str, Any] = {"micro": 2, "prompt": 4, "completion": 12, "checkpointing": False}
"""Few tokens: what is handed to collectives there depends on the weights alone."""


def model(family: str = "qwen2", **changes: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(FAMILIES[family](**{**SIZES, **changes}))


def run_of(built: Any, **changes: Any) -> Run:
    return replace(SMALL, shape=from_config(built.config.to_dict()), **changes)


@contextlib.contextmanager
def metered(held: Any) -> Iterator[Meter]:
    """Counts live bytes from here on, with the tensors of ``held`` among them."""
    meter = Meter(())
    for tensor in held:
        meter.follow(tensor)
    with meter:
        yield meter


def rows(run: Run, vocabulary: int) -> dict[str, torch.Tensor]:
    """Sequences padded to the full length as in TRL: one shorter prompt, so that there is a mask."""
    ids = torch.randint(3, vocabulary, (run.micro, run.length))
    mask = torch.ones_like(ids)
    mask[0, : run.prompt // 2] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, : run.prompt] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def training(family: str, dtype: torch.dtype, mixed: bool, checkpointing: bool, **changes: Any) -> dict[str, Any]:
    """Peak bytes of one forward and backward through TRL's head, without gradients from before; weights are included."""
    built = model(family, **changes).to(dtype)
    run = run_of(built, dtype=dtype.itemsize, mixed=mixed, checkpointing=checkpointing)
    add_fused_lm_head(built, outputs=("log_probs", "entropy"))
    built.train()
    if checkpointing:
        built.gradient_checkpointing_enable({"use_reentrant": False})
    batch = rows(run, built.config.vocab_size)
    with metered([*built.parameters(), *built.buffers()]) as meter:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed and dtype == torch.float32):
            out = built(**batch, fused_lm_head=True)
        kept_now = meter.alive
        (out.log_probs.sum() + out.entropy.sum()).backward()
    needed = memory(run)
    left_out = ("optimizer", "buffered rollouts")
    computed = {m: sum(v for k, v in needed.at(m).items() if k not in left_out) for m in (HEAD, LAYERS)}
    moment = max(computed, key=lambda name: computed[name])
    # With checkpointing autocast's copies are gone when the forward ends.
    held = kept(run) + sum(
        v for k, v in needed.at(HEAD).items() if k == "weights" or ("weights" in k and not checkpointing)
    )
    return {
        "measured": meter.peak,
        "computed": computed[moment],
        "moment": moment,
        "measured before the backward": kept_now,
        "computed before the backward": held,
    }


def sampling(family: str, dtype: torch.dtype) -> dict[str, Any]:
    """Peak bytes of model.generate, weights included: the KV cache at its end, and what sampling needs."""
    built = model(family).to(dtype).eval()
    run = run_of(built, dtype=dtype.itemsize, slices=4)
    ids = torch.randint(3, built.config.vocab_size, (run.rollouts, run.prompt))
    config = GenerationConfig(
        max_new_tokens=run.completion,
        min_new_tokens=run.completion,
        do_sample=True,
        top_k=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    with metered([*built.parameters(), *built.buffers()]) as meter, torch.no_grad():
        built.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
    computed = sum(v for k, v in memory(run).at(GENERATE).items() if k not in ("optimizer", "buffered rollouts"))
    return {"measured": meter.peak, "computed": computed, "moment": GENERATE}


TRAINING = {
    "float32": (torch.float32, False, False),
    "float32, checkpointing": (torch.float32, False, True),
    "bfloat16": (torch.bfloat16, True, False),
    "bfloat16, checkpointing": (torch.bfloat16, True, True),
    "float32 under autocast": (torch.float32, True, False),
    "float32 under autocast, checkpointing": (torch.float32, True, True),
}
"""Name -> dtype of the weights, mixed precision, checkpointing."""


WIDE = {"hidden_size": 128, "intermediate_size": 16384, "num_hidden_layers": 2, "vocab_size": 64}
"""Its peak lies in a layer and not in the head."""


def live_bytes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Takes about half a minute."""
    for family in ("qwen2", "qwen3"):
        for name, options in TRAINING.items():
            yield f"training step, {family}, {name}", training(family, *options)
    for name in ("float32, checkpointing", "bfloat16, checkpointing"):
        yield f"training step, qwen2 with a wide layer, {name}", training("qwen2", *TRAINING[name], **WIDE)
    for dtype in (torch.float32, torch.bfloat16):
        yield f"generation, qwen2, {str(dtype).removeprefix('torch.')}", sampling("qwen2", dtype)
