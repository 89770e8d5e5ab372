"""The policy that a recipe names: built, converted or opened, and its adapters."""

from __future__ import annotations

import sys
from typing import Any

from trl import GRPOConfig

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
    }
    return load_model(path, **how, upcast=not sharded)


def is_zero3(config: GRPOConfig) -> bool:
    return config.deepspeed_plugin is not None and config.deepspeed_plugin.zero_stage == 3


def peft_config(recipe: Recipe) -> Any:
    if recipe.model.peft is None:
        return None
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", **recipe.model.peft.model_dump())
