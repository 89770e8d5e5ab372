"""A character tokenizer and a two-layer model built in process, and a GRPO trainer around them."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from entropostat.recipe.blocks import Critic
from entropostat.rl.objective import normalise_terms
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.ppo import EntropyPPOTrainer
from entropostat.trainers.trl.ppo_config import PPOConfig

torch.set_num_threads(1)

CHARACTERS = "0123456789+-*= abcdefghij"
LORA = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
GAE = {"advantages": [{"gae": {}}]}


def tokenizer() -> PreTrainedTokenizerFast:
    vocab = {token: i for i, token in enumerate(["<pad>", "<eos>", "<unk>", *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def model(seed: int = 0, tie: bool = False, hidden: int = 32, dtype: torch.dtype = torch.float32) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(CHARACTERS) + 3,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tie,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config).to(dtype)


def written(policy: Any, spoken: Any = None) -> str:
    """A folder with model and tokenizer: TRL reloads the reference model by path."""
    folder = tempfile.mkdtemp(prefix="tiny-")
    policy.save_pretrained(folder)
    (tokenizer() if spoken is None else spoken).save_pretrained(folder)
    return folder


def saved(seed: int = 0, tie: bool = False) -> str:
    return written(model(seed, tie))


def digits(completions: list[str], **_: Any) -> list[float]:
    return [sum(c.isdigit() for c in text) / max(len(text), 1) for text in completions]


def prompts(n: int = 16) -> Dataset:
    return Dataset.from_dict({"prompt": [f"{i % 10}+{(3 * i) % 10}=" for i in range(n)]})


def config(form: type[GRPOConfig] = GRPOConfig, **changes: Any) -> GRPOConfig:
    defaults: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(prefix="run-"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": 2,
        "num_generations": 4,
        "max_completion_length": 8,
        "max_steps": 2,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "seed": 1,
    }
    return form(**{**defaults, **changes})


def ppo_config(**changes: Any) -> PPOConfig:
    """One completion per prompt."""
    return config(PPOConfig, **{"num_generations": 1, **changes})


def objective(
    loss: dict[str, Any] | None = None,
    advantages: list[Any] | None = None,
    weights: list[Any] | None = None,
    penalties: list[Any] | None = None,
    rewards: list[Any] | None = None,
) -> dict[str, Any]:
    """A normalised objective block."""
    return {
        "rewards": normalise_terms(rewards or []),
        "advantages": normalise_terms([{"grpo": {}}] if advantages is None else advantages),
        "weights": normalise_terms(weights or []),
        "loss": normalise_terms([loss or {"trl": {}}])[0],
        "penalties": normalise_terms(penalties or []),
    }


def stock(path: str, **changes: Any) -> GRPOTrainer:
    return GRPOTrainer(model=path, reward_funcs=digits, args=config(**changes), train_dataset=prompts())


def ours(path: str, spec: dict[str, Any] | None = None, **changes: Any) -> EntropyGRPOTrainer:
    return EntropyGRPOTrainer(
        model=path,
        reward_funcs=digits,
        args=config(**changes),
        train_dataset=prompts(),
        objective=spec or objective(),
    )


def ppo(model: Any, critic: Critic | None = None, spec: dict[str, Any] | None = None, **changes: Any) -> Any:
    """A PPO trainer; what is no field of its config goes to the trainer itself."""
    own = {
        key: changes.pop(key) for key in ("peft_config", "optimizer", "optimizers", "eval_dataset") if key in changes
    }
    return EntropyPPOTrainer(
        model=model,
        reward_funcs=digits,
        args=changes.pop("args", None) or ppo_config(**changes),
        train_dataset=prompts(),
        processing_class=tokenizer(),
        objective=objective(**(spec or {"advantages": ["gae"]})),
        critic=critic,
        **own,
    )
