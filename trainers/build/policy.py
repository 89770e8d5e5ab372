"""The policy that a recipe names: built, converted or opened, and its adapters."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig
from trl import GRPOConfig

from entropostat.recipe.errors import nearest
from entropostat.recipe.recipe import Recipe
from entropostat.trainers.build.models import load_model, model_path


def find_model(recipe: Recipe) -> str:
    """Build, convert or just name the initial policy; the main process of each machine first, the others find it cached."""
    block = recipe.model
    package = (block.package.name, block.package.file) if block.package else None
    return model_path(
        path=block.path, build=block.build, package=package, held_out=recipe.data.held_out, seed=recipe.seed,
        progress=pretraining_line,
    )  # fmt: skip


def pretraining_line(step: int, steps: int, loss: float) -> None:
    if step % max(steps // 6, 1) == 0:
        print(f"pre-training the quickstart policy: step {step}/{steps}, loss {loss:.3f}", file=sys.stderr, flush=True)


def load_policy(recipe: Recipe, path: str, sharded: bool = False) -> Any:
    """``sharded``: by ZeRO-3, which gathers weights of one precision only, so that an adapter keeps the model's."""
    block = recipe.model
    how: dict[str, Any] = {
        "dtype": block.dtype,
        "attn_implementation": block.attn_implementation,
        "revision": block.revision,
        "quantization": quantization(recipe),
    }
    model = load_model(path, **how, upcast=not sharded)
    check_modules(recipe, model)
    return model


def quantization(recipe: Recipe) -> Any:
    """How bitsandbytes is to pack the base, as TRL asks for it: computed in the type of the other weights. None for whole weights."""
    block = recipe.model
    if not block.load_in_4bit:
        return None
    if find_spec("bitsandbytes") is None:
        raise ImportError(
            "model.load_in_4bit: true needs the package bitsandbytes: pip install 'entropostat[bitsandbytes]'"
        )
    if not torch.cuda.is_available():
        raise RuntimeError(
            "model.load_in_4bit: true needs a GPU: bitsandbytes does not train on a CPU; leave it out here"
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_compute_dtype=None if block.dtype == "auto" else block.dtype,
        bnb_4bit_quant_type=block.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=block.use_bnb_nested_quant,
    )


def is_zero3(config: GRPOConfig) -> bool:
    return config.deepspeed_plugin is not None and config.deepspeed_plugin.zero_stage == 3


def peft_config(recipe: Recipe) -> Any:
    if recipe.model.peft is None:
        return None
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", **recipe.model.peft.model_dump(exclude={"merge"}))


def check_modules(recipe: Recipe, model: Any) -> None:
    """Raises ValueError for a module to save that the model lacks: PEFT would pass over it, and not train it."""
    names = [name for name, _ in model.named_modules() if name]
    for wanted in (recipe.model.peft and recipe.model.peft.modules_to_save) or ():
        if not any(name == wanted or name.endswith(f".{wanted}") for name in names):
            ends = sorted({name.rpartition(".")[2] for name in names if not name.rpartition(".")[2].isdigit()})
            raise ValueError(
                f"model.peft.modules_to_save: no module's name ends in {wanted!r}; {nearest(wanted, ends)}"
            )
