"""TRL's PPO, one update whenever it is told to: a worker of ppo.py, for an interpreter that has TRL 1.12 and nothing of ours.

    python benchmarks/cost/ppo_theirs.py FOLDER SETTINGS      SETTINGS: JSON, ppo.py says what

Reads a line of standard input before each update; answers with the seconds of the last one, of processor and wall time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
    PrinterCallback,
    TrainerCallback,
)

QUIET = {
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
}
"""Of the configurations of both, theirs and ours."""


class Told(TrainerCallback):
    """Stands still after every ``every`` optimizer steps."""

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.wait()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every == 0:
            used, passed = time.process_time() - self.used, time.perf_counter() - self.passed
            print(json.dumps({"cpu": used, "wall": passed}), flush=True)
            self.wait()

    def wait(self) -> None:
        if not sys.stdin.readline():
            raise SystemExit(0)
        self.used, self.passed = time.process_time(), time.perf_counter()


def main() -> None:
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    if not settings["collect"]:
        ppo_trainer.gc = SimpleNamespace(collect=lambda: 0)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "policy", padding_side="left")
    prompts = [{"input_ids": tokenizer(text)["input_ids"]} for text in settings["prompts"]]
    classifier = [AutoModelForSequenceClassification.from_pretrained(folder / "reward") for _ in range(2)]
    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=str(folder / "theirs"),
            per_device_train_batch_size=settings["batch"],
            gradient_accumulation_steps=1,
            num_mini_batches=1,
            num_ppo_epochs=settings["epochs"],
            local_rollout_forward_batch_size=settings["batch"],
            response_length=settings["tokens"],
            total_episodes=settings["batch"] * settings["updates"],
            num_sample_generations=0,
            **QUIET,
        ),
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(folder / "policy"),
        ref_model=AutoModelForCausalLM.from_pretrained(folder / "policy"),
        reward_model=classifier[0],
        value_model=classifier[1],
        train_dataset=Dataset.from_list(prompts),
        callbacks=[Told(1)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


if __name__ == "__main__":
    main()
