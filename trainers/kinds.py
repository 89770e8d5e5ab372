"""What ``trainer.kind`` of a recipe names: a trainer, and the config of TRL's that it takes."""

from __future__ import annotations

from typing import Any

from trl import GRPOConfig

from entropostat.recipe.recipe import Recipe
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.ppo import EntropyPPOTrainer
from entropostat.trainers.trl.ppo_config import PPOConfig

CONFIGS: dict[str, type[GRPOConfig]] = {"grpo": GRPOConfig, "ppo": PPOConfig}


def make_trainer(recipe: Recipe, **arguments: Any) -> EntropyGRPOTrainer:
    """The recipe's trainer, with the block that it alone reads."""
    if recipe.kind == "ppo":
        return EntropyPPOTrainer(**arguments, critic=recipe.critic)
    return EntropyGRPOTrainer(**arguments)
