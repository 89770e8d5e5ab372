"""The quickstart over seeds: plain GRPO, PID-gated KL, and a fixed coefficient, each from its own pre-trained policy.

    python benchmarks/quickstart.py --seeds 0 1 2 3 4

The setting (recipes/quickstart) was fixed on seeds 5 to 9; 0 to 4 are reported. The seed varies pre-training and RL.
Results are written run by run, and runs that the file already holds are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "quickstart.json"
PID = "quickstart/pid-kl.yaml"
ROWS: dict[str, list[str]] = {
    "plain GRPO": ["quickstart/plain.yaml"],
    "PID-gated KL": [PID],
    "fixed KL .3": [PID, "objective.penalties.kl_ref.coef=0.3"],
}
KEYS = ("pass@1", "pass@16", "share/working", "accuracy/working", "entropy_ratio")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
    for seed in arguments.seeds:
        for row in arguments.rows:
            name = f"{row}, seed {seed}"
            if name not in results:
                results[name] = measure(row, seed)
                arguments.results.write_text(json.dumps(results, indent=1) + "\n")
                print(name, {key: round(results[name]["hard"][key], 3) for key in KEYS}, flush=True)
    arguments.results.with_suffix(".md").write_text(table(results))
    print(table(results))


def measure(row: str, seed: int) -> dict[str, Any]:
    """Train one run in a folder that is thrown away; keep what the tables need. A failed run is a result too."""
    recipe, *overrides = ROWS[row]
    with tempfile.TemporaryDirectory() as folder:
        words = [str(ROOT / "recipes" / recipe), f"seed={seed}", "name=run", f"output_dir={folder}", *overrides]
        command = [sys.executable, "-W", "ignore", "-m", "entropostat", "train", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
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


def table(results: dict[str, Any]) -> str:
    """Markdown: hard pass@1 by seed, then the rest as means over seeds."""
    seeds = sorted({int(name.rpartition(" ")[2]) for name in results})
    rows = [row for row in ROWS if any(name.startswith(f"{row},") for name in results)]
    lines = ["Hard pass@1 at the end, 96 held-out prompts x 16 samples.", ""]
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
        found = [results[f"{row}, seed {seed}"] for seed in seeds if f"{row}, seed {seed}" in results]
        values = [
            [r["hard"]["pass@16"] for r in found],
            [r["hard at the switch"]["share/working"] for r in found],
            [r["hard"]["share/working"] for r in found],
            [r["hard"]["entropy_ratio"] for r in found],
            [r["easy"]["pass@1"] for r in found],
            [r["entropy"] for r in found],
        ]
        lines.append(f"| {row} | " + " | ".join(f"{sum(v) / len(v):.3f}" for v in values) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
