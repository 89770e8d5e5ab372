"""Trainers with a stream of prompts, and what their generations gave."""

from __future__ import annotations

import copy
from typing import Any

from datasets import Dataset

from entropostat.rl.objective import normalise_terms
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.trl.scoring import score_tokens
from support import tiny

RSR = [{"dynamic_sampling": {"oversample": 4.0}}, {"rsr": {}}]


def sparse(completions: list[str], **_: Any) -> list[float]:
    """1 for one completion in two, nearly: some groups agree."""
    return [float(any(c in "01" for c in text)) for text in completions]


def prompts(count: int = 60) -> Dataset:
    return Dataset.from_dict({"prompt": [f"{i // 10}+{i % 10}=" for i in range(count)]})


def make(
    path: str, data: list[Any], reward: Any = sparse, spec: dict[str, Any] | None = None, table: Any = None, **how: Any
) -> Any:
    return EntropyGRPOTrainer(
        model=path,
        reward_funcs=reward,
        args=tiny.config(**{"max_steps": 12, "per_device_train_batch_size": 8, **how}),
        train_dataset=prompts() if table is None else table,
        objective={**(spec or tiny.objective()), "data": normalise_terms(data)},
    )


def generations(trainer: Any) -> list[dict[str, Any]]:
    """What each generation gave to TRL's buffer, beside what was known then."""
    seen, generate = [], trainer._generate_and_score_completions

    def watch(*args: Any) -> dict[str, Any]:
        output = generate(*args)
        scored = score_tokens(trainer, output)  # by the policy that generates now
        told = {
            key.partition("/")[2]: v[-1]
            for key, v in trainer._metrics["train"].items()
            if key[:7] in ("dynamic", "rsr/rec")
        }
        seen.append({**output, "policy": scored, "told": told, "shown": copy.deepcopy(trainer._logs)})
        seen[-1]["scores"] = trainer._rewards_per_func.clone()
        return output

    trainer._generate_and_score_completions = watch
    trainer.train()
    return seen


def texts(trainer: Any, output: dict[str, Any], part: str) -> list[str]:
    rows = [ids[mask.bool()] for ids, mask in zip(output[f"{part}_ids"], output[f"{part}_mask"], strict=True)]
    return [trainer.processing_class.decode(row, skip_special_tokens=True) for row in rows]


def groups(values: list[Any], size: int = 4) -> list[list[Any]]:
    return [values[i : i + size] for i in range(0, len(values), size)]
