"""The quickstart over seeds: plain GRPO, PID-gated KL, and a fixed coefficient, each from its own pre-trained policy.

    python -m benchmarks.quickstart --jobs 2          resumes; writes results/quickstart.{json,md}

The setting (recipes/quickstart) was fixed on seeds 5 to 9; 0 to 4 are reported. The seed varies pre-training and RL.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.experiment import RECORDED, ROOT, Job, Result, command

RESULTS = RECORDED / "quickstart.json"
SEEDS = (0, 1, 2, 3, 4)
PID = "quickstart/pid-kl.yaml"
ROWS: dict[str, list[str]] = {
    "plain GRPO": ["quickstart/plain.yaml"],
    "PID-gated KL": [PID],
    "fixed KL .3": [PID, "objective.penalties.kl_ref.coef=0.3"],
}
KEYS = ("pass@1", "pass@16", "share/working", "accuracy/working", "entropy_ratio")


def measure(row: str, seed: int) -> dict[str, Any]:
    """Train one run in a folder that is thrown away; keep what the tables need."""
    recipe, *overrides = ROWS[row]
    with tempfile.TemporaryDirectory() as folder:
        words = [str(ROOT / "recipes" / recipe), f"seed={seed}", "name=run", f"output_dir={folder}", *overrides]
        train = [sys.executable, "-W", "ignore", "-m", "entropostat", "train", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(train, env=environment, check=True, stderr=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
    evaluations = {line["step"]: line for line in lines if "evaluate/hard/pass@1" in line}
    steps = [line for line in lines if "loss" in line]
    outputs = [line[key] for line in steps for key in line if key.endswith(".coef/output")]
    pick = lambda step, name: {key: evaluations[step].get(f"evaluate/{name}/{key}", 0.0) for key in KEYS}
    last = max(evaluations)
    return {
        "hard": pick(last, "hard"),
        "easy": pick(last, "easy"),
        "hard at the switch": pick(120, "hard"),
        "hard at the start": pick(0, "hard"),
        "entropy": sum(line["entropy"] for line in steps[-20:]) / 20,
        "coefficient": {"mean of last 20": sum(outputs[-20:]) / 20, "min": min(outputs), "max": max(outputs)}
        if outputs
        else None,
    }


def table(results: Mapping[str, Result]) -> str:
    """Markdown: hard pass@1 by seed, then the rest as means over seeds."""
    results = {name: one for name, one in results.items() if "failed" not in one}
    seeds = sorted({int(name.rpartition(" ")[2]) for name in results})
    rows = [row for row in ROWS if any(name.startswith(f"{row},") for name in results)]
    lines = ["# The quickstart over seeds", "", "Hard pass@1 at the end, 96 held-out prompts x 16 samples.", ""]
    lines += ["| run | " + " | ".join(f"seed {seed}" for seed in seeds) + " |", "|---|" + "---|" * len(seeds)]
    for row in rows:
        cells = [results.get(f"{row}, seed {seed}") for seed in seeds]
        lines.append(f"| {row} | " + " | ".join(f"{c['hard']['pass@1']:.3f}" if c else "" for c in cells) + " |")
    lines += ["", "Means over these seeds.", ""]
    head = [
        "pass@16",
        "working: share at the switch",
        "share at the end",
        "H/H_ref at the end",
        "easy pass@1",
        "entropy",
    ]
    lines += ["| run | " + " | ".join(head) + " |", "|---|" + "---|" * len(head)]
    for row in rows:
        runs = [results[f"{row}, seed {seed}"] for seed in seeds if f"{row}, seed {seed}" in results]
        values = [
            [r["hard"]["pass@16"] for r in runs],
            [r["hard at the switch"]["share/working"] for r in runs],
            [r["hard"]["share/working"] for r in runs],
            [r["hard"]["entropy_ratio"] for r in runs],
            [r["easy"]["pass@1"] for r in runs],
            [r["entropy"] for r in runs],
        ]
        lines.append(f"| {row} | " + " | ".join(f"{sum(v) / len(v):.3f}" for v in values) + " |")
    return "\n".join(lines) + "\n"


def jobs() -> dict[str, Job]:
    return {f"{row}, seed {seed}": partial(measure, row, seed) for seed in SEEDS for row in ROWS}


if __name__ == "__main__":
    command(__doc__, RESULTS, table, lambda _: jobs())
