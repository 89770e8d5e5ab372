"""Worker: two ranks train together, each with an engine of its own, made as TRL makes it.

python agree_ranks.py POLICY OUT        (under accelerate)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
from vllm_engine.shared import COLOCATED

from benchmarks.cpu_engine import QUIET, fresh

os.environ.update(QUIET)

import torch
import trl.generation.vllm_generation as generation
from support import tiny
from support.log_history import logged


def main() -> None:
    policy, out = sys.argv[1:]
    generation.LLM = fresh
    spec = tiny.objective(penalties=[{"kl_ref": {"coef": 0.01}}, {"aepo": {"coef": 0.1, "success": -1.0}}])
    trainer = tiny.ours(policy, spec, **COLOCATED, steps_per_generation=1, max_steps=4, shuffle_dataset=False)
    seen, generate = [], trainer.vllm_generation.generate

    def watch(prompts: list[list[int]], **rest: object) -> object:
        found = generate(prompts=prompts, **rest)
        seen.append((prompts, [list(ids) for ids in found[1]]))
        return found

    trainer.vllm_generation.generate = watch
    trainer.train()
    gaps = logged(trainer, "sampling/sampling_logp_difference/max")
    weights = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    found = {"gaps": gaps, "seen": seen, "weights": weights, "rows": trainer.state.log_history}
    torch.save(found, f"{out}-{trainer.accelerator.process_index}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
