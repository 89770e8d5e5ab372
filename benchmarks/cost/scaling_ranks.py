"""Worker of scaling.py: the optimizer steps of one strategy on two processes, and what was handed to collectives.

    accelerate launch --config_file ... -m benchmarks.cost.scaling_ranks OUT ACCUMULATION [--nothing-stays]

Collectives are counted below torch.distributed, by a dispatch mode, so that those of DDP's reducer are seen too.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor
from torch.optim import AdamW
from torch.utils._pytree import tree_iter

from benchmarks.cost.counting import Meter
from benchmarks.cost.scaling_cases import WEIGHT_TRAFFIC, model, rows, run_of

KINDS = {
    "allreduce_": "all-reduce",
    "allreduce_coalesced_": "all-reduce",
    "_reduce_scatter_base_": "reduce-scatter",
    "reduce_scatter_": "reduce-scatter",
    "reduce_scatter_tensor_coalesced_": "reduce-scatter",
    "_allgather_base_": "all-gather",
    "allgather_": "all-gather",
    "allgather_into_tensor_coalesced_": "all-gather",
    "broadcast_": "broadcast",
}
SMALL = 64
"""Bytes up to which a collective is a scalar of some bookkeeping (norms, overflow checks) and is counted apart."""


class Collectives(Meter):
    """Bytes of the whole tensor of each collective, by kind: the largest of its tensors, or of its lists of tensors."""

    def __init__(self) -> None:
        super().__init__(())
        self.bytes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d" and (kind := KINDS.get(func.overloadpacket.__name__)):
            sizes = [sum(x.nbytes for x in tree_iter(arg) if isinstance(x, Tensor)) for arg in args]
            name = kind if max(sizes) > SMALL else "scalars"
            self.bytes[name] += max(sizes)
            self.calls[name] += 1
        elif func.namespace == "c10d":
            self.calls[func.overloadpacket.__name__] += 1
        return super().__torch_dispatch__(func, types, args, kwargs)


def main() -> int:
    out, accumulation, nothing_stays = Path(sys.argv[1]), int(sys.argv[2]), "--nothing-stays" in sys.argv
    torch.set_num_threads(1)
    PartialState(cpu=True)  # first, as TrainingArguments does: Accelerator(cpu=True) would put DDP in DeepSpeed's place
    accelerator = Accelerator(gradient_accumulation_steps=accumulation)
    deepspeed = accelerator.state.deepspeed_plugin
    if deepspeed is not None:
        config = deepspeed.deepspeed_config
        config |= {"train_micro_batch_size_per_gpu": WEIGHT_TRAFFIC["micro"], "zero_force_ds_cpu_optimizer": False}
        # A bucket as large as DeepSpeed's default would take 2 GB of a model of 10 MB.
        config["zero_optimization"]["reduce_bucket_size"] = 10_000_000
        if nothing_stays:
            limits = ("stage3_max_live_parameters", "stage3_max_reuse_distance", "stage3_param_persistence_threshold")
            config["zero_optimization"] |= dict.fromkeys(limits, 0)
    built = model()
    run = run_of(built, **WEIGHT_TRAFFIC, accumulation=accumulation)
    optimizer = AdamW(built.parameters(), lr=1e-4)
    built, optimizer = accelerator.prepare(built, optimizer)

    def step() -> None:
        for _ in range(accumulation):
            with accelerator.accumulate(built):
                loss = built(**rows(run, run.shape.vocabulary)).loss
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()

    step()  # buckets are made anew, and ZeRO-3 learns the order of the modules
    step()
    with Collectives() as counted:
        step()
    states = optimizer.optimizer.state if deepspeed is None else built.optimizer.optimizer.state
    numbers = sum(v.nbytes for s in states.values() for v in s.values() if isinstance(v, Tensor) and v.dim())
    inner = getattr(built, "optimizer", None)  # DeepSpeed's, around ours
    masters = getattr(inner, "single_partition_of_fp32_groups", getattr(inner, "fp32_partitioned_groups_flat", []))
    numbers += sum(part.nbytes for part in masters)
    if accelerator.is_main_process:
        facts = {"bytes": counted.bytes, "calls": counted.calls, "optimizer": numbers, "engine": type(built).__name__}
        out.write_text(json.dumps({**facts, "world": accelerator.num_processes, "stage": stage(built)}))
    accelerator.wait_for_everyone()
    torch.distributed.destroy_process_group()
    return 0


def stage(engine: Any) -> int | None:
    return engine.zero_optimization_stage() if hasattr(engine, "zero_optimization_stage") else None


if __name__ == "__main__":
    sys.exit(main())
