"""Worker: train with live generation, a reference model, rollout-scope terms and a controller; write what each rank saw.

python engines.py MODEL OUT        (on several ranks, with the environment of one of accelerate's files)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import tiny

from entropostat.trainers.grpo import EntropyGRPOTrainer

KEYS = ("loss", "grad_norm", "entropy", "kl", "reward", "completions/mean_length")
PID = {"pid": {"signal": "kl", "target": 0.05, "effect": "lowers", "kp": 1.0, "ki": 0.2, "space": "log", "start": 0.2,
               "low": 0.01, "high": 2.0}}  # fmt: skip
SPEC: dict[str, Any] = {
    "weights": [{"clip_cov": {"fraction": 0.2, "low": 0.0, "high": 50.0}}, {"high_entropy": {"fraction": 0.6}}],
    "penalties": [
        {"kl_ref": {"coef": PID}},
        {"kl_cov": {"fraction": 0.1, "coef": 0.3}},
        {"entropy_bonus": {"coef": -0.5}},
    ],
}


def main() -> None:
    path, out = sys.argv[1:]
    config = tiny.config(max_steps=6, optim="sgd", learning_rate=0.3, max_completion_length=6)
    trainer = EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=config,
        train_dataset=tiny.prompts(),
        objective=tiny.objective(**SPEC),
    )
    seen: list[torch.Tensor] = []
    score = trainer._score

    def watched(output: dict[str, Any], batch: Any) -> None:
        seen.append(output["completion_ids"].cpu())
        score(output, batch)

    trainer._score = watched
    trainer.train()
    engine, reference = trainer.model_wrapped, trainer.ref_model
    accelerator = trainer.accelerator
    state = accelerator.get_state_dict(engine) or {}  # of ZeRO-3's whole weights only the first rank has a copy
    report = {
        "world": accelerator.num_processes,
        "engine": type(engine).__name__,
        "stage": engine.zero_optimization_stage() if hasattr(engine, "zero_optimization_stage") else None,
        "cut": [any(hasattr(p, "ds_id") for p in model.parameters()) for model in (trainer.model, reference)],
        "completions": seen,
        "rows": [{key: row.get(key) for key in row if key in KEYS or key.startswith(("control/", "clip_cov/", "kl_cov/"))}
                 for row in trainer.state.log_history if "loss" in row],
        "control": trainer.thermostat.state,
        "params": {name: p.double() for name, p in state.items()},
    }  # fmt: skip
    torch.save(report, f"{out}-{accelerator.process_index}.pt")
    accelerator.wait_for_everyone()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
