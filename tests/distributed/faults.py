"""Worker: two ranks, and one of them meets a number that is none: python faults.py OUT, under a launcher."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import tiny
from transformers import TrainerCallback

from entropostat.rl.penalties.kl_ref import KLRef
from entropostat.trainers.model.shards import share

CASES = {
    "a penalty of rank 1": (1, lambda value: value * torch.nan),
    "a constant of rank 0": (0, lambda value: value + torch.inf),
}
"""The rank, and what becomes of its penalty in the third micro-batch: the first one of step 2."""
STEP = {"step": {"target": 0.1, "delta": 0.01}}


class Watch(TrainerCallback):
    """Whether a step moved anything on this rank: its share of the weights, its moments, the controllers."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.moved, self.before = trainer, [], []

    def look(self) -> list[Any]:
        tensors = [share(p) for p in self.trainer.model.parameters()]
        states = self.trainer.optimizer.state.values()
        tensors += [v for state in states for v in state.values() if isinstance(v, torch.Tensor)]
        return [self.trainer.thermostat.state, *(t.detach().clone() for t in tensors)]

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.before = self.look()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        pairs = list(zip(self.before, self.look(), strict=False))
        self.moved.append(not all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs))


def run(case: str, path: str) -> dict[str, Any]:
    rank, spoil = CASES[case]
    original, calls = KLRef.__call__, []
    spec = tiny.objective(penalties=[{"kl_ref": {"coef": 0.1}}, {"entropy_bonus": {"coef": STEP}}])
    trainer = tiny.ours(path, spec, max_steps=4, gradient_accumulation_steps=2, lr_scheduler_type="linear")
    mine = trainer.accelerator.process_index

    def penalty(*args: Any) -> Any:
        calls.append(1)
        value, metrics = original(*args)
        return (spoil(value), metrics) if len(calls) == 3 and mine == rank else (value, metrics)

    KLRef.__call__ = penalty
    watch = Watch(trainer)
    trainer.add_callback(watch)
    try:
        trainer.train()
    finally:
        KLRef.__call__ = original
    rows = [row for row in trainer.state.log_history if "loss" in row]
    dumps = sorted(path.name for path in Path(trainer.args.output_dir).glob("nonfinite/*.json"))
    engine = type(trainer.model_wrapped).__name__
    stage = trainer.model_wrapped.zero_optimization_stage() if engine == "DeepSpeedEngine" else 0
    return {
        "moved": watch.moved,
        "counts": [row["health/nonfinite"] for row in rows],
        "rates": [row["learning_rate"] for row in rows],
        "weights": float(sum(share(p).double().abs().sum() for p in trainer.model.parameters())),
        "dumps": dumps,
        "engine": [engine, stage, trainer.accelerator.num_processes],
    }


if __name__ == "__main__":
    path = tiny.saved()  # each rank its own, while none knows of the other
    outcomes = {case: run(case, path) for case in CASES}
    process = torch.distributed.get_rank()
    Path(f"{sys.argv[1]}-{process}.json").write_text(json.dumps(outcomes))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
