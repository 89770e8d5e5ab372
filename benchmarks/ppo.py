"""PPO, SAFE and GRPO on RLHF in small: how well each pleases the reward model, at what distance, and what that is worth.

    python -m benchmarks.ppo --jobs 2          resumes; writes results/ppo.{json,md}

Every run is recipes/base/rlhf.yaml: the same pre-trained policy, the same reward model built from it and the same prompts for
all rows of a seed, and fresh ones for every seed. The reward is the model's; the verifier trains nothing, and its score is the
true one. Settings were looked at on seed 5 alone and are not tuned: no row is said to be better than another by it.

    reward      learned reward, mean over all completions of the run (average), and over its last tenth (final)
    crashes     and the deepest fall of its average: rl/diagnostics/crash.py, definitions of our own
    KL          to the initial policy, nats per token (k3), per optimizer step
    true        share of held-out completions that are right, at the start, at its best and at the end
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from benchmarks.experiment import RECORDED, ROOT, Job, Result, arguments, complete, experiment
from entropostat.rl.diagnostics.crash import behaviour, drawdown

RESULTS = RECORDED / "ppo.json"
SEEDS = (0, 1, 2, 3, 4)
GRPO, PPO = "rlhf-grpo.yaml", "rlhf-ppo.yaml"
MEASURED = "objective.penalties=[{kl_ref: {coef: 0.0}}]"
"""Pulls at nothing; with it the KL is measured."""
SAFE = {"threshold": 0.05, "tau_low": 0.02, "tau_high": 0.1, "strength": 5.0, "floor": 0.3, "high": 2.0, "solved": 0.4}
"""SAFE's numbers are for an entropy near 2 nats; this policy starts at 0.35 and earns 0.4."""


def safe(**more: Any) -> list[str]:
    """SAFE's parts: rewards normalised, returns without discount, a twin critic softly at its lower estimate, Huber."""
    coef = {"safe": {**SAFE, **more}}
    return [
        "shaping.normalise=true",
        "objective.advantages=[gae: {lam: 1.0, bootstrap: false}]",
        "critic={heads: 2, combine: softmin, layer_norm: true, hidden: true, loss: huber, coef: 0.5}",
        f"objective.penalties={json.dumps([{'kl_ref': {'coef': coef}}, {'entropy_bonus': {'coef': 0.01}}])}",
    ]


ROWS: dict[str, list[str]] = {
    "PPO": [PPO],
    "PPO without KL": [PPO, "objective.advantages.gae.kl_coef=null", MEASURED],
    "PPO with adaptive KL": [
        PPO,
        "objective.advantages.gae.kl_coef={adaptive_kl: {target: 0.05, samples: 64, horizon: 640, start: 0.1, low: 0.01, high: 1.0}}",
    ],
    "SAFE (ours)": [PPO, *safe()],
    "SAFE (reference)": [PPO, *safe(reference=True)],
    "GRPO": [GRPO, MEASURED],
    "GRPO with KL": [GRPO, "objective.penalties=[{kl_ref: {coef: 0.3}}]"],
}


def measure(row: str, seed: int, short: bool) -> Result:
    recipe, *overrides = ROWS[row]
    cut = ["data.curriculum=[{source: hard, steps: 16}]", "evaluate.every=8", "evaluate.samples=4", "evaluate.k=[1, 4]"]
    overrides += [*(cut if short else []), f"seed={seed}"]
    started = time.monotonic()
    with experiment(ROOT / "recipes" / "quickstart" / recipe, overrides) as run:
        lines = run.train()
    steps = [line for line in lines if "loss" in line]
    probes = [line for line in lines if "evaluate/hard/pass@1" in line]
    true = [probe["evaluate/hard/pass@1"] for probe in probes]
    rewards = [line["rewards/model/mean"] for line in steps if "rewards/model/mean" in line]
    return {
        **asdict(behaviour(rewards, [line["kl"] for line in steps])),
        "true_start": true[0],
        "true_best": max(true),
        "true_final": true[-1],
        "true_drawdown": drawdown([line["rewards/chain/mean"] for line in steps if "rewards/chain/mean" in line]),
        "entropy": probes[-1]["evaluate/hard/entropy"],
        "entropy_ratio": probes[-1]["evaluate/hard/entropy_ratio"],
        "probes": [
            [probe["step"], probe["evaluate/hard/reward/model"], probe["evaluate/hard/pass@1"]] for probe in probes
        ],
        "seconds": round(time.monotonic() - started),
    }


COLUMNS = {
    "average reward": "average_reward",
    "final reward": "final_reward",
    "crashes": "crashes",
    "drawdown": "drawdown",
    "KL mean": "kl_mean",
    "KL p95": "kl_p95",
    "KL max": "kl_max",
    "entropy": "entropy",
    "true, start": "true_start",
    "true, best": "true_best",
    "true, end": "true_final",
}


def table(results: Mapping[str, Result]) -> str:
    """Means over the seeds with a result; ``true, end`` seed by seed below."""
    seeds = sorted({int(key.rpartition("|")[2]) for key in results})
    lines = [
        "# RLHF in small",
        "",
        *(__doc__ or "").strip().splitlines()[4:],
        "",
        "Means over the runs that finished.",
        "",
    ]
    lines += ["| row | runs | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---|" * len(COLUMNS)]
    for row in ROWS:
        runs = [x for seed in seeds if (x := results.get(f"{row}|{seed}")) is not None]
        good = [x for x in runs if "failed" not in x]
        if good:
            cells = [f"{statistics.mean(x[key] for x in good):.3f}" for key in COLUMNS.values()]
            lines.append(f"| {row} | {len(good)} of {len(runs)} | " + " | ".join(cells) + " |")
    lines += ["", "True score at the end by seed.", "", "| row | " + " | ".join(f"seed {s}" for s in seeds) + " |"]
    lines.append("|---|" + "---|" * len(seeds))
    for row in ROWS:
        cells = [_cell(results.get(f"{row}|{seed}")) for seed in seeds]
        if any(cells):
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(result: dict[str, Any] | None) -> str:
    return "" if result is None else "failed" if "failed" in result else f"{result['true_final']:.3f}"


def jobs(short: bool) -> dict[str, Job]:
    return {f"{row}|{seed}": partial(measure, row, seed, short) for seed in SEEDS for row in ROWS}


if __name__ == "__main__":
    parser = arguments(__doc__, RESULTS)
    parser.add_argument("--short", action="store_true", help="16 steps a run, to see that every row runs")
    options = parser.parse_args()
    complete(options, table, lambda _: jobs(options.short))
