"""verl's own FSDP2 engine on CPUs: the objective trains a tiny policy for a few steps, and each layout says what became of it.

    python -m in_verl.engine OUT.json       VARIANT: {name: {objective, world, micro, order, steps}}; ranks are forked

The driver's part is computed by every rank, of all sequences, as verl's one driver would; a rank trains on its own share of them.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)

import in_verl.cpu_platform  # noqa: F401  before verl looks for its hardware
from in_verl.support import nest, settings
from tensordict import TensorDict
from verl.trainer.config import CheckpointConfig
from verl.utils import tensordict_utils as tu
from verl.utils.metric import reduce_metrics
from verl.utils.py_functional import rename_dict
from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
from verl.workers.engine_workers import TrainingWorker, TrainingWorkerConfig

from entropostat.verl.driver import Driver
from entropostat.verl.fields import GENERATION

COUNT, PROMPT, WORDS = 8, 3, 64
FP32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}


def policy(folder: Path) -> str:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(
        vocab_size=WORDS, num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=True, **sizes
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return str(folder)


def worker(path: str, micro: int, **optimizer: Any) -> TrainingWorker:
    model = HFModelConfig(
        path=path, load_tokenizer=False, use_remove_padding=False, override_config={"attn_implementation": "eager"}
    )
    engine = FSDPEngineConfig(
        strategy="fsdp2",
        model_dtype="fp32",
        dtype="float32",
        use_dynamic_bsz=False,
        micro_batch_size_per_gpu=micro,
        use_torch_compile=False,
        mixed_precision=FP32,
    )
    config = TrainingWorkerConfig(
        model_type="language_model",
        model_config=model,
        engine_config=engine,
        optimizer_config=FSDPOptimizerConfig(**{"lr": 1e-3, **optimizer}),
        checkpoint_config=CheckpointConfig(),
    )
    made = TrainingWorker(config)
    made.reset()
    made.flops_counter = None
    return made


class Rollouts:
    """The same for any number of ranks; old log-probs and entropies are the engine's own."""

    def __init__(self, micro: int) -> None:
        g = torch.Generator().manual_seed(7)
        self.micro = micro
        self.lengths = torch.randint(4, 12, (COUNT,), generator=g).tolist()
        self.ids = [torch.randint(0, WORDS, (PROMPT + n,), generator=g) for n in self.lengths]
        self.rewards = torch.randn(COUNT, generator=g).tolist()
        self.keys = [f"p{i // 4}_{i % 4}_0" for i in range(COUNT)]
        self.masks = [torch.ones(n, dtype=torch.long) for n in self.lengths]
        self.masks[2][1:3] = 0

    def batch(self, rows: list[int]) -> TensorDict:
        ids = [self.ids[i] for i in rows]
        masks = nest([self.masks[i] for i in rows])
        fields = {
            "input_ids": nest(ids),
            "position_ids": nest([torch.arange(len(x)) for x in ids]),
            "prompts": nest([x[:PROMPT] for x in ids]),
            "responses": nest([x[PROMPT:] for x in ids]),
            "response_mask": masks,
            "loss_mask": masks,
        }
        data = TensorDict(fields, batch_size=[len(rows)])
        tu.assign_non_tensor(
            data, temperature=1.0, calculate_entropy=True, pad_mode="no_padding", use_remove_padding=False
        )
        tu.assign_non_tensor(data, micro_batch_size_per_gpu=self.micro, use_dynamic_bsz=False)
        return data

    def whole(self, scored: dict[str, list[torch.Tensor]]) -> TensorDict:
        """What verl's queue holds once old log-probs are there."""
        data = self.batch(list(range(COUNT)))
        for name, values in scored.items():
            data[name] = nest(values)
        scores = [torch.zeros(n) for n in self.lengths]
        for i, row in enumerate(scores):
            row[-1] = self.rewards[i]
        data["rm_scores"] = nest(scores)
        tu.assign_non_tensor(data, uid=[key.split("_")[0] for key in self.keys])
        return data


def scored(made: TrainingWorker, rollouts: Rollouts, mine: list[int], world: int) -> dict[str, list[torch.Tensor]]:
    """Old log-probs and entropies of all sequences, each from the rank that has it."""
    data = rollouts.batch(mine)
    tu.assign_non_tensor(data, compute_loss=False)
    out = made.infer_batch(data)
    own = [
        (i, logps[PROMPT - 1 : -1].clone(), entropy[PROMPT - 1 : -1].clone())
        for i, logps, entropy in zip(mine, out["log_probs"].unbind(), out["entropy"].unbind(), strict=True)
    ]
    pooled: list[Any] = [None] * world
    torch.distributed.all_gather_object(pooled, own)
    rows = sorted((row for part in pooled for row in part), key=lambda row: row[0])
    return {"old_log_probs": [row[1] for row in rows], "entropy": [row[2] for row in rows]}


def train(variant: dict[str, Any], policy_folder: str) -> dict[str, Any] | None:
    """By this rank of the process group; what became of it, from rank 0."""
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    rollouts = Rollouts(variant.get("micro", 2))
    order = variant.get("order", list(range(COUNT)))
    share = COUNT // world
    mine = order[rank * share : (rank + 1) * share]
    made = worker(policy_folder, rollouts.micro)
    driver = Driver(settings(variant["objective"]))
    made.set_loss_fn(driver.loss)
    told_of: list[dict[str, float]] = []
    old = scored(made, rollouts, mine, world)  # of the first policy, so that later steps have ratios other than 1
    for _ in range(variant.get("steps", 3)):
        whole = rollouts.whole(old)
        fields, told, _ = driver.generation(whole, rollouts.keys, [False] * COUNT)
        data = rollouts.batch(mine)
        for name in ("old_log_probs", "entropy"):
            data[name] = nest([whole[name][i] for i in mine])
        for name in fields.keys():  # noqa: SIM118
            values = fields[name]
            data[name] = nest([values[i] for i in mine]) if values.is_nested else values[mine]
        tu.assign_non_tensor(data, global_batch_size=COUNT, mini_batch_size=COUNT, epochs=1, seed=1)
        tu.assign_non_tensor(data, dataloader_kwargs={"shuffle": False}, **{GENERATION: told})
        output = made.train_mini_batch(data)
        metrics = reduce_metrics(rename_dict(tu.get(output, "metrics"), "actor/"))
        norm = float(metrics["actor/grad_norm"])
        own = {key: value for key, value in metrics.items() if key.startswith("actor/entropostat/")}
        told_of.append({"grad_norm": norm, **driver.step(own, norm, steps=10)})
    parameters = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in made.engine.module.parameters()]
    total = [float(p.detach().double().abs().sum()) for p in parameters]
    torch.distributed.destroy_process_group()
    return {"steps": told_of, "theta": total, "engine": type(made.engine).__name__} if rank == 0 else None


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def forked(rank: int, world: int, port: int, variant: dict[str, Any], policy_folder: str, out: Path) -> int:
    """The process id of a rank, which has imported verl already."""
    if child := os.fork():
        return child
    status = 1
    try:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        if (told := train(variant, policy_folder)) is not None:
            out.write_text(json.dumps(told))
        status = 0
    except BaseException:  # noqa: BLE001  (of a child that must not go on as its parent)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main(out: str) -> None:
    variants: dict[str, dict[str, Any]] = json.loads(os.environ["VARIANT"])
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        path = policy(Path(folder) / "policy")
        for name, variant in variants.items():
            file, world, port = Path(folder) / "told.json", variant.get("world", 1), free_port()
            ranks = [forked(rank, world, port, variant, path, file) for rank in range(world)]
            if any(os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1]) for rank in ranks):
                sys.exit(f"{name}: a rank failed")
            told[name] = json.loads(file.read_text())
            file.unlink()
    Path(out).write_text(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
