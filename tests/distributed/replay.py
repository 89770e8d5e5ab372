"""Worker: replay one recorded generation through every case, and write losses, gradients and parameters.

    python replay.py OUT DTYPE ROWS ACCUMULATION        (under torch.distributed.run for several processes)

The same 16 sequences with the same uids reach every layout in the same two optimizer steps. Live generation cannot: TRL
seeds and shuffles per rank.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import trl.trainer.utils as trl_utils
from support import tiny
from support.dense import DenseHead
from transformers import TrainerCallback

from entropostat.recipe.machine_blocks import Tracking
from entropostat.rl.batch import TokenBatch
from entropostat.rl.needs import STATISTICS
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.rollout import extra

SEQUENCES, LENGTH, GROUP, STEPS = 16, 6, 4, 3
ALL = {
    "weights": [{"clip_cov": {"fraction": 0.2, "low": 0.0, "high": 50.0}}, {"high_entropy": {"fraction": 0.6}}],
    "penalties": [
        {"kl_cov": {"fraction": 0.1, "coef": 0.3}},
        {"kl_ref": {"coef": 0.2}},
        {"entropy_bonus": {"coef": 0.05}},
    ],
}
MONITORS = ("entropy/", "learning/", "text/", "forces/", "trust/", "state/")
CASES: dict[str, dict[str, Any]] = {
    **{kind: {"loss": {"trl": {"type": kind}}} for kind in ("grpo", "dr_grpo", "dapo", "sapo", "luspo", "vespo", "bnpo")},
    "cispo": {"loss": {"trl": {"type": "cispo", "epsilon_high": 5.0}}},
    "all terms": {"loss": {"trl": {"type": "dapo"}}, **ALL},
    "all terms, own loss": {"loss": {"unclipped": {"type": "grpo"}}, **ALL},
    **{f"own {kind}": {"loss": {kind: {"type": "grpo"}}} for kind in ("ppo_clip", "gspo", "cispo")},
    "log Z": {"loss": {"flowrl": {"beta": 2.0, "cap": 1.5}}},
    "vocabulary": {"penalties": [{"renyi_bonus": {"coef": 0.5}}]},
    "targets": {
        "advantages": ["grpo", {"dcpo": {"target": 5.0, "success": 0.3}}, {"kl_reward": {"coef": 0.2}}],
        "weights": [{"steer": {"omega": "full"}}, {"clip_v": {"mu": 0.1, "max_fraction": 0.2}}, {"entropy_tilt": {"gain": 0.7}}],
        "penalties": [{"ter": {"coef": 0.3}}, {"siren": {"coef": 0.2, "anchor": 0.1}}],
    },
    "rewards": {
        "rewards": [{"pear": {"boundary": "5"}}, {"ares": {"window": 2}}, {"diversity": {"gram": 1, "coef": 0.4}}, {"group_length": {}}],
        "penalties": [{"kl_bucket": {"coef": 0.5, "easy": 0.3, "hard": 2.0}}],
    },
    "extra rows": {"penalties": [{"aepo": {"coef": 0.5}}]},
    "rloo": {"advantages": ["rloo"]},
    "batch std": {"advantages": [{"grpo": {"scale": "batch"}}]},
    "pid": {
        "penalties": [
            {"kl_ref": {"coef": {"pid": {"signal": "kl", "target": 0.5, "effect": "lowers", "kp": 1.0, "ki": 0.2,
                                         "space": "log", "start": 0.2, "low": 0.01, "high": 2.0}}}}
        ]
    },
    "bonus of trl": {"penalties": [{"entropy_bonus": {"coef": 5.0, "reduction": "trl"}}]},
}  # fmt: skip


def recorded(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """A generation with ragged masks. Rows 12 to 15, the second rank's share of step two, are fully masked, and rows 8
    to 15 have flat entropies and equal rewards, so that nothing is selected there."""
    g = torch.Generator().manual_seed(5)
    noise = lambda scale: scale * torch.randn(SEQUENCES, LENGTH, generator=g, dtype=torch.float64)
    lengths = torch.tensor([6, 3, 1, 5, 6, 6, 2, 4, 3, 6, 5, 1, 0, 0, 0, 0])
    mask = (torch.arange(LENGTH)[None] < lengths[:, None]).long()
    entropy = 3.0 + noise(0.2)
    entropy[8:] = 0.1
    rewards = torch.rand(SEQUENCES, generator=g, dtype=torch.float64)
    rewards[8:] = 1.0
    rewards[9] = 0.5
    return {
        "prompt_ids": torch.randint(3, 28, (SEQUENCES, 4), generator=g),
        "prompt_mask": torch.ones(SEQUENCES, 4, dtype=torch.long),
        "completion_ids": torch.randint(3, 28, (SEQUENCES, LENGTH), generator=g) * mask,
        "completion_mask": mask,
        "old_per_token_logps": ((noise(0.3) - 3.3) * mask).to(dtype),
        "ref_per_token_logps": ((noise(0.3) - 3.3) * mask).to(dtype),
        "old_entropy": (entropy * mask).to(dtype),
        "rewards": rewards.to(dtype),
        # Statistics of the vocabulary at the time of the generation: any numbers serve, as long as all layouts have them.
        "sum_p2": (torch.rand(SEQUENCES, LENGTH, generator=g, dtype=torch.float64) * mask).to(dtype),
        "sum_p2_logp": (-torch.rand(SEQUENCES, LENGTH, generator=g, dtype=torch.float64) * mask).to(dtype),
        "nucleus_entropy": ((2.0 + noise(0.3)) * mask).to(dtype),
        "logit": (noise(1.0) * mask).to(dtype),
        "lse": ((3.5 + noise(0.1)) * mask).to(dtype),
        "uids": torch.arange(SEQUENCES),
    }


class Replay(EntropyGRPOTrainer):
    def _prepare_inputs(self, batch: Any) -> dict[str, Any]:
        if self._buffered_inputs is None:
            self._buffered_inputs = self.inject(recorded(next(self.model.parameters()).dtype))
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def inject(self, data: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
        """This rank's rows of every slice, scored as a generation is and cut as TRL cuts it."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        rows, slices = self.args.per_device_train_batch_size, self.args.steps_per_generation
        mine = torch.cat([torch.arange(rows) + s * rows * world + rank * rows for s in range(slices)])
        part = {key: value[mine] for key, value in data.items()}
        output = {k: v for k, v in part.items() if k not in ("rewards", "uids", "old_entropy", *STATISTICS)}
        output["num_items_in_batch"] = data["completion_mask"].sum()
        batch = TokenBatch(
            logps=part["old_per_token_logps"],
            mask=part["completion_mask"],
            old_logps=part["old_per_token_logps"],
            old_entropy=part["old_entropy"],
            ref_logps=part["ref_per_token_logps"],
            **{name: part[name] for name in ("sum_p2", "sum_p2_logp", "nucleus_entropy", "logit")},
            lse={t: part["lse"] for t in (0.8, 1.2)},
            rewards=part["rewards"],
            groups=part["uids"] // GROUP,
            uids=part["uids"],
            clip=self.objective.loss.term.clip,
            reducer=self._reducer,
        )
        if self.objective.rewards:  # of prompts whose completions lie on both ranks, one of them without a score
            pieces = tuple(tuple(map(str, row)) for row in part["completion_ids"].tolist())
            unshaped = (part["rewards"] > 0.4).to(part["rewards"].dtype)
            batch = batch.set(
                unshaped=unshaped.masked_fill(part["uids"] == 5, torch.nan),
                groups=part["uids"] // (2 * GROUP) * 2 + part["uids"] % 2,
                token_ids=part["completion_ids"],
                lengths=part["completion_mask"].sum(1),
                pieces=pieces,
            )
            batch = batch.set(rewards=self.shaper.reward(self.objective, batch))
        self._score(output, batch)
        if self.objective.sampler is not None:  # some of the rows once more, with another share on each rank
            fields = {name: part[name] for name in extra.FIELDS} | {"loss_mask": part["completion_mask"]}
            fields["weights"] = ((part["uids"] % 3 == 0) | (part["uids"] == 4)).to(batch.logps.dtype)
            fields["tokens"] = output["num_items_in_batch"] / (world * slices)
            output |= {extra.KEY + name: value for name, value in fields.items()}
        return trl_utils.split_tensor_dict(output, slices)


class Capture(TrainerCallback):
    def __init__(self, trainer: Any) -> None:
        self.trainer, self.grads = trainer, []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        self.grads.append(torch.cat([p.grad.flatten().double() for p in model.parameters()]).clone())


def run(case: dict[str, Any], path: str, dtype: torch.dtype, rows: int, accumulation: int) -> dict[str, Any]:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    config = tiny.config(
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=SEQUENCES // (rows * world),
        num_iterations=2,
        num_generations=GROUP,
        max_completion_length=LENGTH,
        max_steps=STEPS,
        max_grad_norm=0.0,
    )
    model = tiny.model().to(dtype)
    model.config._name_or_path = path
    trainer = Replay(
        model=model,
        reward_funcs=tiny.digits,
        args=config,
        train_dataset=tiny.prompts(),
        processing_class=tiny.tokenizer(),
        objective=tiny.objective(**case),
        tracking=Tracking(rankme=SEQUENCES * LENGTH),
        optimizers=(torch.optim.SGD(model.parameters(), lr=0.1), None),
    )
    assert trainer.accelerator.num_processes == world
    assert type(trainer.accelerator.prepare(torch.nn.Linear(1, 1))).__name__ == (
        "DistributedDataParallel" if world > 1 else "Linear"
    )
    capture = Capture(trainer)
    trainer.add_callback(capture)
    losses: list[float] = []
    step = trainer.training_step

    def watched(*args: Any) -> Any:
        loss = step(*args)
        losses.append(float(trainer.accelerator.gather(loss.double().reshape(1)).mean()))
        return loss

    trainer.training_step = watched
    trainer.train()
    params = torch.cat(
        [p.detach().flatten().double() for p in trainer.accelerator.unwrap_model(trainer.model).parameters()]
    )
    # Of an accumulated step the micro-batch losses add up.
    summed = [sum(losses[i : i + accumulation]) for i in range(0, len(losses), accumulation)]
    # TRL's own metrics are means over micro-batches, and times differ.
    rows = [row for row in trainer.state.log_history if "loss" in row]
    ours = MONITORS if trainer.objective.loss.term.delegated else (*MONITORS, "clip_ratio/", "cispo_clip_ratio")
    logged = [{key: row[key] for key in row if key.startswith(ours)} for row in rows]
    results = {"losses": summed, "grads": capture.grads, "params": params, "control": trainer.thermostat.state}
    return {**results, "monitors": logged, "histogram": trainer.monitors.memory.histogram}


def main() -> None:
    out, dtype, rows, accumulation = sys.argv[1], getattr(torch, sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if dtype == torch.float64:
        trl_utils._ChunkedLogProbFunction = DenseHead
    path = tiny.saved()
    results = {name: run(case, path, dtype, rows, accumulation) for name, case in CASES.items()}
    if int(os.environ.get("RANK", "0")) == 0:
        torch.save(results, out)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
