"""One recipe's objective under TRL and under verl, on the same completions: the gradients of two optimizer steps of one generation.

    python -m in_verl.same OUT.json         VARIANT: {name: objective block}

TRL samples and trains first, by our trainer. verl's FSDP2 engine then trains the same policy on what was recorded: ids, masks and
rewards; advantages, statistics, old log-probs and entropies are computed anew.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from in_verl import cpu_platform  # noqa: F401  before verl looks for its hardware
from in_verl.engine import free_port, worker
from in_verl.support import nest, settings
from support import tiny
from tensordict import TensorDict
from transformers import TrainerCallback
from verl.utils import tensordict_utils as tu

from entropostat.recipe.objective import spec_of
from entropostat.verl.carries import AGGREGATION
from entropostat.verl.driver import Driver
from entropostat.verl.fields import GENERATION

RATE, STEPS, GROUP, LONGEST = 0.5, 2, 4, 24
UIDS = "entropostat/uids"
"""By which our trainer tells the completions of a generation apart, in TRL's buffer."""
Gradients = list[torch.Tensor]
"""Of each optimizer step, all parameters in one row."""


class Recorder(TrainerCallback):
    def __init__(self) -> None:
        self.gradients: Gradients = []
        self.slices: list[dict[str, Any]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.gradients.append(torch.cat([p.grad.flatten().clone() for p in model.parameters()]))


def by_trl(path: str, block: dict[str, Any]) -> tuple[Gradients, list[dict[str, Any]]]:
    sizes = {"gradient_accumulation_steps": 2, "steps_per_generation": 2, "num_iterations": STEPS, "max_steps": STEPS}
    plain = {"optim": "sgd", "learning_rate": RATE, "max_grad_norm": 0.0, "max_completion_length": LONGEST}
    trainer = tiny.ours(path, spec_of(block), **sizes, **plain)
    recorder = Recorder()
    trainer.add_callback(recorder)
    trainer.train()
    return recorder.gradients, trainer._buffered_inputs


def rows_of(slices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The completions as verl's agent loop would have written them."""
    rows, spoken = [], tiny.tokenizer()
    for inputs in slices:
        for i, kept in enumerate(inputs["completion_mask"].bool()):
            prompt = inputs["prompt_ids"][i][inputs["prompt_mask"][i].bool()]
            response = inputs["completion_ids"][i][kept]
            (reward,) = tiny.digits([spoken.decode(response, skip_special_tokens=True)])
            rows.append({"prompt": prompt, "response": response, "reward": reward, "place": int(inputs[UIDS][i])})
    return sorted(rows, key=lambda row: row["place"])


def tensors(rows: list[dict[str, Any]]) -> TensorDict:
    ids = [torch.cat([row["prompt"], row["response"]]) for row in rows]
    mask = nest([torch.ones_like(row["response"]) for row in rows])
    scores = [torch.zeros(len(row["response"])) for row in rows]
    for row, score in zip(rows, scores, strict=True):
        score[-1] = row["reward"]
    fields = {
        "input_ids": nest(ids),
        "position_ids": nest([torch.arange(len(x)) for x in ids]),
        "prompts": nest([row["prompt"] for row in rows]),
        "responses": nest([row["response"] for row in rows]),
        "response_mask": mask,
        "loss_mask": mask,
        "rm_scores": nest(scores),
    }
    data = TensorDict(fields, batch_size=[len(rows)])
    tu.assign_non_tensor(data, temperature=1.0, calculate_entropy=True, pad_mode="no_padding", use_remove_padding=False)
    tu.assign_non_tensor(data, micro_batch_size_per_gpu=4, use_dynamic_bsz=False, calculate_sum_pi_squared=True)
    return data


def by_verl(path: str, block: dict[str, Any], rows: list[dict[str, Any]]) -> Gradients:
    kind = settings(block).control.template.loss.term.aggregation
    driver = Driver(replace(settings(block, AGGREGATION[kind], scale=LONGEST), seed=tiny.config().seed))
    made = worker(path, micro=4, optimizer="SGD", lr=RATE, clip_grad=1e9, weight_decay=0.0)
    made.set_loss_fn(driver.loss)
    data = tensors(rows)
    tu.assign_non_tensor(data, compute_loss=False)
    reference = any("kl_ref" in penalty for penalty in block.get("penalties", ()))
    out = made.infer_batch(data)
    data = tensors(rows)
    for name, output in (("old_log_probs", "log_probs"), ("entropy", "entropy")):
        cut = [x[len(row["prompt"]) - 1 : -1] for x, row in zip(out[output].unbind(), rows, strict=True)]
        data[name] = nest(cut)
    data["sum_pi_squared"] = out["sum_pi_squared"]
    if reference:  # the policy has not moved yet
        data["ref_log_prob"] = data["old_log_probs"]
    groups = [f"p{row['place'] // GROUP}" for row in rows]  # two groups may have the same prompt
    keys = [f"{group}_{i}_0" for i, group in enumerate(groups)]
    tu.assign_non_tensor(data, uid=groups)
    fields, told, _ = driver.generation(data, keys, [False] * len(rows), tiny.tokenizer())
    gradients: Gradients = []
    stepped = made.engine.optimizer_step

    def caught() -> Any:
        parameters = made.engine.module.parameters()
        gradients.append(torch.cat([p.grad.full_tensor().flatten().clone() for p in parameters]))
        return stepped()

    made.engine.optimizer_step = caught
    for _ in range(STEPS):
        mini = data.clone()
        for name in fields.keys():  # noqa: SIM118
            mini[name] = fields[name]
        tu.assign_non_tensor(mini, global_batch_size=len(rows), mini_batch_size=len(rows), epochs=1, seed=1)
        tu.assign_non_tensor(mini, dataloader_kwargs={"shuffle": False}, **{GENERATION: told})
        made.train_mini_batch(mini)
    return gradients


def main(out: str) -> None:
    variants: dict[str, dict[str, Any]] = json.loads(os.environ["VARIANT"])
    path = tiny.saved(tie=True)
    recorded = {name: by_trl(path, block) for name, block in variants.items()}
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_PORT": str(free_port())}
    torch.distributed.init_process_group("gloo")
    told = {}
    for name, (gradients, slices) in recorded.items():
        rows = rows_of(slices)
        found = by_verl(path, variants[name], rows)
        sizes = [float(g.norm()) for g in gradients]
        apart = [float((a - b).norm() / b.norm()) for a, b in zip(found, gradients, strict=True)]
        told[name] = {"norms": sizes, "apart": apart, "lengths": [len(row["response"]) for row in rows]}
    Path(out).write_text(json.dumps(told))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
