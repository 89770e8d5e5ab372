"""Worker: distil from a teacher on several ranks, with tokens selected over all of them; write what each rank saw.

python distill.py MODEL TEACHER OUT        (on several ranks, with the environment of one of accelerate's files)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import tiny

from entropostat.trainers.grpo import EntropyGRPOTrainer

KEYS = ("loss", "grad_norm", "entropy", "distill/divergence", "tip/fraction", "tip/entropy")


def main() -> None:
    path, teacher, out = sys.argv[1:]
    config = tiny.config(max_steps=4, optim="sgd", learning_rate=0.1, max_completion_length=6, save_strategy="steps",
                         save_steps=4, save_only_model=True, output_dir=f"{out}-run")  # fmt: skip
    spec: dict[str, Any] = {
        "loss": {"none": {}},
        "advantages": [],
        "weights": [{"tip": {"select": "soft_or", "scope": "ranks"}}],
        "penalties": [{"distill": {"divergence": "jsd"}}, {"distill": {"name": "top", "top_k": 5, "weighted": False}}],
    }
    trainer = EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=config,
        train_dataset=tiny.prompts(),
        objective=tiny.objective(**spec),
        teacher=AutoModelForCausalLM.from_pretrained(teacher, dtype=torch.float32),
    )
    trainer.train()
    accelerator, engine = trainer.accelerator, trainer.model_wrapped
    state = accelerator.get_state_dict(engine) or {}  # of ZeRO-3's whole weights only the first rank has a copy
    assert trainer.teacher is not None
    found = {
        "engine": type(engine).__name__,
        "stage": engine.zero_optimization_stage() if hasattr(engine, "zero_optimization_stage") else None,
        "cut": any(hasattr(p, "ds_id") for p in trainer.teacher.inner.parameters()),
        "rows": [{key: row[key] for key in KEYS} for row in trainer.state.log_history if "loss" in row],
        "params": {name: p.double() for name, p in state.items()},
    }
    torch.save(found, f"{out}-{accelerator.process_index}.pt")
    accelerator.wait_for_everyone()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
