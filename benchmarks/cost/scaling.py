"""The plan's estimate of memory and communication against small models that are measured on a CPU.

    python -m benchmarks.cost.scaling [--docs]

Writes scaling.json and scaling.md. Four parts: numbers of weights and of the optimizer's state (exact), live bytes at the
peak of a step and before its backward, a whole step of the trainer, and what two processes hand to their collectives.
``--docs`` runs nothing of this: it writes the tables of docs/scaling.md anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.experiment import RECORDED, ROOT

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

RECIPES = ROOT / "recipes"
RANKS = {
    "ddp": ("ddp-cpu", []),
    "zero1": ("zero1", []),
    "zero2": ("zero2", []),
    "zero3": ("zero3", []),
    "zero3, nothing stays gathered": ("zero3", ["--nothing-stays"]),
}
"""Case -> accelerate's file and the worker's flags."""
ACCUMULATION = 2


def exact() -> list[dict[str, Any]]:
    """Numbers of weights, and bytes of the optimizer's state after a step."""
    import torch

    from benchmarks.cost.scaling_cases import FAMILIES, SIZES, model, run_of
    from entropostat.recipe.blocks import Critic
    from entropostat.scaling.presets import PRESETS
    from entropostat.scaling.states import optimizer, value_heads
    from entropostat.trainers.model.critic_heads import ValueHeads
    from entropostat.trainers.optim.muon import MuonAdamW, hidden_matrices

    rows = []
    for family in FAMILIES:
        for tied in (False, True):
            built = model(family, tie_word_embeddings=tied)
            count = sum(p.numel() for p in built.parameters())
            what = f"weights, {family}{', tied' if tied else ''}"
            rows.append({"what": what, "measured": count, "computed": run_of(built).shape.parameters})
    for name in PRESETS:
        rows.append({"what": f"weights, {name}", **preset(name)})
    for heads, hidden, norm in ((1, False, False), (2, True, True)):
        block = Critic(heads=heads, hidden=hidden, layer_norm=norm)
        count = sum(p.numel() for p in ValueHeads(SIZES["hidden_size"], block).parameters())
        what = f"value heads: {heads}{', hidden layer and norm' if hidden else ''}"
        rows.append({"what": what, "measured": count, "computed": value_heads(SIZES["hidden_size"], block)})
    for dtype, muon in ((torch.float32, False), (torch.bfloat16, False), (torch.float32, True)):
        built = model().to(dtype)
        for p in built.parameters():
            p.grad = torch.ones_like(p)
        if muon:
            matrices = hidden_matrices(built)
            others = [p for p in built.parameters() if not any(p is m for m in matrices)]
            made: Any = MuonAdamW(matrices, [{"params": others}], {"lr": 1e-4}, {"lr": 1e-4})
        else:
            made = torch.optim.AdamW(built.parameters(), lr=1e-4)
        made.step()
        states = [v for s in made.state.values() for v in s.values() if isinstance(v, torch.Tensor) and v.dim()]
        run = run_of(built, dtype=dtype.itemsize, muon=muon)
        what = f"optimizer bytes, {'Muon' if muon else 'AdamW'}, {str(dtype).removeprefix('torch.')}"
        rows.append({"what": what, "measured": sum(v.nbytes for v in states), "computed": optimizer(run)[0].size})
    return rows


def preset(name: str) -> dict[str, int]:
    """The model of a preset on torch's meta device: no memory, true shapes."""
    import torch
    from transformers import LlamaConfig, Qwen2Config
    from transformers.models.auto import AutoModelForCausalLM

    from entropostat.scaling.presets import PRESETS

    shape = PRESETS[name].shape
    config = (Qwen2Config if shape.qkv_bias else LlamaConfig)(
        hidden_size=shape.hidden, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, intermediate_size=shape.intermediate, vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
    )  # fmt: skip
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    return {"measured": sum(p.numel() for p in built.parameters()), "computed": PRESETS[name].parameters}


def trainer_step() -> dict[str, Any]:
    """The overhead benchmark's small run with all its terms: generation, scoring, a reference, two micro-batches."""
    from benchmarks.cost.counting import count
    from benchmarks.cost.scaling_cases import SMALL
    from benchmarks.cost.subjects import SMALL as SIZE
    from benchmarks.cost.subjects import build
    from entropostat.scaling.memory import memory
    from entropostat.scaling.run import Run
    from entropostat.scaling.shape import from_config

    trainer = build(True, SIZE, steps=2 * SIZE.cycle + 1)
    run = Run(
        from_config(trainer.model.config.to_dict()), "single", world=1, micro=SIZE.micro_batch, prompt=5,
        accumulation=SIZE.accumulation, slices=SIZE.steps_per_generation, updates=Fraction(SIZE.cycle),
        completion=SIZE.tokens, checkpointing=False, reference=True, scored=1, buffered=8, device=SMALL.device,
    )  # fmt: skip
    computed = memory(run)
    return {"measured": count(trainer, SIZE.cycle)["peak bytes"], "computed": computed.peak, "moment": computed.moment}


def ranks(case: str) -> list[dict[str, Any]]:
    """Bytes by kind of collective of one optimizer step on two processes, and the optimizer's bytes of the first."""
    file, flags = RANKS[case]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        words = [sys.executable, "-W", "ignore", "-m", "accelerate.commands.launch", "--num_processes", "2"]
        words += [
            "--config_file",
            str(RECIPES / "accelerate" / f"{file}.yaml"),
            "-m",
            "benchmarks.cost.scaling_ranks",
        ]
        environment = {**os.environ, "DS_ACCELERATOR": "cpu"}
        done = subprocess.run(
            [*words, str(out), str(ACCUMULATION), *flags],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{case} failed:\n{done.stderr[-4000:]}")
        return compared(case, json.loads(out.read_text()))


def compared(case: str, counted: dict[str, Any]) -> list[dict[str, Any]]:
    """The worker's counts beside the formulas. Raises RuntimeError for another engine than the one meant."""
    from benchmarks.cost.scaling_cases import WEIGHT_TRAFFIC, model, run_of
    from entropostat.scaling.communication import communication
    from entropostat.scaling.states import optimizer

    strategy = case.partition(",")[0]
    stage = int(strategy[-1]) if strategy.startswith("zero") else None
    if (counted["world"], counted["stage"]) != (2, stage):
        raise RuntimeError(
            f"{case}: {counted['engine']} of stage {counted['stage']} on {counted['world']} process(es) ran"
        )
    run = run_of(model(), strategy=strategy, world=2, accumulation=ACCUMULATION, **WEIGHT_TRAFFIC)
    limits = {"live": 0, "persistent": 0} if RANKS[case][1] else {}
    computed: Counter[str] = Counter()
    for transfer in communication(run, **limits):
        if not any(part in transfer.name for part in ("generate", "scoring", "statistics")):
            computed[transfer.kind] += transfer.tensor
    rows = [
        {"what": f"{case}: {kind} bytes a step", "measured": counted["bytes"].get(kind, 0), "computed": computed[kind]}
        for kind in ("all-reduce", "reduce-scatter", "all-gather")
        if computed[kind] or counted["bytes"].get(kind)
    ]
    size = optimizer(run)[0].size
    return [*rows, {"what": f"{case}: optimizer bytes of a rank", "measured": counted["optimizer"], "computed": size}]


def main() -> int:
    parser = argparse.ArgumentParser(description="The plan's estimate against measured small models.")
    parser.add_argument("--out", type=Path, default=RECORDED / "cost", help="folder of the results")
    parser.add_argument("--docs", action="store_true", help="only write the tables of docs/scaling.md anew")
    options = parser.parse_args()
    if options.docs:
        from benchmarks.cost.scaling_docs import PAGE, renewed

        PAGE.write_text(renewed(PAGE.read_text()))
        return 0
    from benchmarks.cost.scaling_cases import live_bytes

    results: dict[str, Any] = {
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "accelerate", "deepspeed")}
    }
    results["exact"] = exact()
    results["live bytes"] = [{"what": name, **row} for name, row in live_bytes()]
    results["live bytes"].append({"what": "a whole step of the trainer, all terms", **trainer_step()})
    results["two processes"] = [row for case in RANKS for row in ranks(case)]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scaling.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "scaling.md").write_text(report(results))
    print(report(results))
    return 0


def report(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines = ["# Computed against measured", "", f"Made by `python -m benchmarks.cost.scaling` with {versions}, on CPU."]
    titles = {
        "exact": "Weights and optimizer",
        "live bytes": "Live tensor bytes at the peak",
        "two processes": "Two processes over gloo, float32, two micro-batches a step",
    }
    for key, title in titles.items():
        lines += ["", f"## {title}", "", "| what | measured | computed | computed / measured |", "|---|---|---|---|"]
        lines += [_row(row["what"], row["measured"], row["computed"]) for row in results[key]]
    lines += ["", "## Live tensor bytes before the backward", ""]
    lines += ["| what | measured | computed | computed / measured |", "|---|---|---|---|"]
    before = "before the backward"
    lines += [
        _row(row["what"], row[f"measured {before}"], row[f"computed {before}"])
        for row in results["live bytes"]
        if f"measured {before}" in row
    ]
    return "\n".join(lines) + "\n"


def _row(what: str, measured: float, computed: float) -> str:
    return f"| {what} | {measured:,.0f} | {computed:,.0f} | {computed / measured if measured else float('nan'):.3f} |"


if __name__ == "__main__":
    sys.exit(main())
