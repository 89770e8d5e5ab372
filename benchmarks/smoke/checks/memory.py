"""Most memory that a run holds on a GPU, beside what `entropostat plan` says that it needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.smoke.row import Place, Seen, require
from benchmarks.smoke.training import RECIPE

LOW = 0.6
"""Measured over estimated, at least: the estimate counts every sequence at its full length, as they nearly are here. At most: what
`plan` leaves free for what it does not count."""
SHAPES = {
    "cuda": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 16, "vocab_size": 32_768},
    "cpu": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "vocab_size": 2048},
}
LENGTHS = {"cuda": (16, 496), "cpu": (16, 48)}
"""Tokens of the longest prompt, and of a completion."""


def check(place: Place) -> Seen:
    model = policy(place.device, place.scratch / "model")
    prompt, completion = LENGTHS[place.device]
    own = [
        "model.build=null", f"model.path={model}", f"data.max_prompt_tokens={prompt}", "trainer.max_steps=4",
        f"trainer.max_completion_length={completion}", f"output_dir={place.scratch}", "tracking.monitor_every=0",
    ]  # fmt: skip
    estimated = estimate(own, place.device)
    return judge(MEASURES[place.device](own), estimated)


def judge(measured: float, estimated: float) -> Seen:
    """Raises Failed."""
    from entropostat.scaling.report import ROOM

    share, high = measured / estimated, 1 / ROOM
    text = f"{measured / 2**30:.2f} GiB, estimated {estimated / 2**30:.2f} GiB: {share:.3f} of it"
    numbers = {"measured": measured, "estimated": estimated}
    require(LOW <= share <= high, f"{text}; wanted was {LOW:g} to {high:.2f}", **numbers)
    return Seen(text, numbers)


def policy(device: str, folder: Path) -> Path:
    """Random weights: they nearly never end a completion before its bound."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from entropostat.trainers.build.characters import make_tokenizer

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    heads = SHAPES[device]["hidden_size"] // 64
    ends = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    config = Qwen3Config(
        **SHAPES[device],
        **ends,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=64,
        tie_word_embeddings=False,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def estimate(own: list[str], device: str) -> float:
    """Bytes."""
    from entropostat.recipe import load
    from entropostat.scaling import source
    from entropostat.scaling.memory import memory
    from entropostat.scaling.run import of_recipe

    recipe = load(str(RECIPE), own)
    run = of_recipe(recipe, source.find(recipe)[0])
    return memory(replace(run, device="gpu" if device == "cuda" else "cpu")).peak


def trained(own: list[str]) -> None:
    """In this process, whose memory is measured."""
    from entropostat.recipe import load
    from entropostat.trainers.run import run_recipe

    if code := run_recipe(load(str(RECIPE), own)):
        raise RuntimeError(f"the run ended with {code}")


def on_card(own: list[str]) -> float:
    import torch

    trained(own)
    return float(torch.cuda.max_memory_allocated())


def on_cpu(own: list[str]) -> float:
    """Bytes of living tensors, counted below torch's dispatcher."""
    from benchmarks.cost.counting import Meter

    with Meter(()) as meter:
        trained(own)
    return float(json.loads(json.dumps(meter.peak)))


MEASURES: dict[str, Callable[[list[str]], Any]] = {"cuda": on_card, "cpu": on_cpu}
