"""Worker: train with a reward model and shaped rewards; every rank writes what it holds.

python reward_ranks.py POLICY REWARD OUT        (under accelerate for several processes)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from datasets import Dataset
from support import tiny

from entropostat.data.example import Example
from entropostat.recipe.blocks import Shaping
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
from entropostat.rl.objective import Objective
from entropostat.trainers.build.reward_model import attach
from entropostat.trainers.grpo import EntropyGRPOTrainer

TEXTS = ["1+1=2", "3*3", "", "0" * 12]


def table(n: int = 16) -> Dataset:
    columns = {"answer": [""] * n, "meta": ["{}"] * n, "id": [str(i) for i in range(n)]}
    return Dataset.from_dict({"prompt": [f"{i % 10}+{(3 * i) % 10}=" for i in range(n)], **columns})


def main() -> None:
    policy, reward, out = sys.argv[1:]
    config = tiny.config(per_device_train_batch_size=4, max_steps=4, max_completion_length=4)
    scorer = Scorer({"model": VERIFIERS.build("model", {"path": reward})})
    attach(scorer, {"model": reward}, config.device, config.deepspeed_plugin)
    trainer = EntropyGRPOTrainer(
        model=policy,
        reward_funcs=scorer.functions,
        args=config,
        train_dataset=table(),
        objective=tiny.objective(advantages=[{"dr_grpo": {}}]),
        shaping=Shaping(normalise=True, missing_eos_penalty=0.5),
    )
    seen: list[Any] = []
    rollout = Objective.rollout

    def watch(self: Any, batch: Any) -> Any:
        raw = trainer._rewards_per_func[:, 0]
        seen.append((raw.tolist(), trainer.shaper.unshaped.tolist(), batch.rewards.tolist()))
        return rollout(self, batch)

    Objective.rollout = watch
    trainer.train()
    model = scorer.models["model"].model
    rank = trainer.accelerator.process_index
    wrapped = trainer.model_wrapped
    facts = {
        "world": trainer.accelerator.num_processes,
        "engine": type(wrapped).__name__,
        "stage": wrapped.zero_optimization_stage() if hasattr(wrapped, "zero_optimization_stage") else None,
        "moments": trainer.shaper.moments.state_dict(),
        "scores": scorer.models["model"](TEXTS, [Example("p")] * len(TEXTS)),
        "whole": not any(hasattr(p, "ds_id") for p in model.parameters()),
        "policy_cut": any(hasattr(p, "ds_id") for p in trainer.model.parameters()),
        "raw": [all_ for all_, _, _ in seen],
        "mine": [mine for _, mine, _ in seen],
        "shaped": [shaped for _, _, shaped in seen],
        "logged": [row["shaping/raw"] for row in trainer.state.log_history if "shaping/raw" in row],
        "penalised": [row["shaping/missing_eos"] for row in trainer.state.log_history if "shaping/raw" in row],
    }
    Path(f"{out}-{rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
