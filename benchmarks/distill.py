"""On-policy distillation of the quickstart policy, on all tokens and on half of them: what TIP (arXiv:2604.14084) claims.

    python -m benchmarks.distill --jobs 2          resumes; writes results/distill.{json,md}

Half of the tokens by TIP's scores, beside half of them at random, which tells what selecting is worth. The seed varies the
pre-training of policy and teacher, and the run. Nothing was looked at before these rows were fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.experiment import RECORDED, Job, Result, command, experiment

RESULTS = RECORDED / "distill.json"
RECIPE = Path(__file__).with_name("distill.yaml")
SEEDS = (0, 1, 2, 3, 4)
TEACHER = "teacher alone"
ROWS: dict[str, dict[str, Any] | None] = {
    "all tokens": None,
    "half by entropy": {"select": "entropy_topk"},
    "half drawn by entropy": {"select": "entropy_sample"},
    "half by soft-OR": {"select": "soft_or"},
    "half by divergence": {"select": "divergence"},
    "a fifth, sure and wrong": {"select": "q3", "ratio": 0.2},
    "half at random": {"select": "entropy_sample", "alpha": 0.0},
}
"""Options of tip, or None without it."""
KEYS = ("pass@1", "pass@8", "entropy", "length")


def measure(row: str, seed: int) -> Result:
    """Train one policy, and give its held-out numbers along the way; of the teacher, those it has."""
    overrides = [f"seed={seed}"]
    if row == TEACHER:
        build = "{lengths: [2, 5], working: 1.0, slips: 0.0, hidden: 128, ff: 384, heads: 4, steps: 1200}"
        with experiment(RECIPE, [*overrides, f"model={{build: {build}}}"]) as found:
            return {"hard": {key: value for key, value in found.probe().items() if key.startswith("hard/")}}
    if (options := ROWS[row]) is not None:
        words = ", ".join(f"{key}: {value}" for key, value in options.items())
        overrides.append(f"objective.weights=[tip: {{{words}}}]")
    with experiment(RECIPE, overrides) as found:
        lines = found.train()
    tests = [line for line in lines if "evaluate/hard/pass@1" in line]
    steps = [line for line in lines if "loss" in line]
    pick = lambda line: {key: line[f"evaluate/hard/{key}"] for key in KEYS if f"evaluate/hard/{key}" in line}
    return {
        "pass@1": tests[-1]["evaluate/hard/pass@1"],
        "path": {str(line["step"]): pick(line) for line in tests},
        "divergence": sum(line["distill/divergence"] for line in steps[-20:]) / len(steps[-20:]),
        "fraction": sum(line.get("tip/fraction", 1.0) for line in steps) / len(steps),
    }


def page(results: Mapping[str, Result]) -> str:
    """Markdown: hard pass@1 at the end by seed, and the means of what else was measured."""
    known = {name: one for name, one in results.items() if "failed" not in one}
    head = ["run", *(f"seed {seed}" for seed in SEEDS), "mean", "tokens", "divergence at the end"]
    lines = [
        "# Distillation, on all tokens and on some of them",
        "",
        "Hard pass@1 of the policy at the end, 64 held-out prompts x 8 samples.",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
    ]
    for row in (TEACHER, *ROWS):
        found = {seed: known[name] for seed in SEEDS if (name := f"{row}, seed {seed}") in known}
        if not found:
            continue
        right = {seed: one["hard"]["hard/pass@1"] if row == TEACHER else one["pass@1"] for seed, one in found.items()}
        cells = [f"{right[seed]:.3f}" if seed in right else "" for seed in SEEDS]
        cells.append(f"{sum(right.values()) / len(right):.3f}")
        mean = lambda key, all_=found: f"{sum(one[key] for one in all_.values()) / len(all_):.3f}"
        cells += ["", ""] if row == TEACHER else [mean("fraction"), mean("divergence")]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    failed = sorted(name for name, one in results.items() if "failed" in one)
    return "\n".join([*lines, *(["", f"Failed: {', '.join(failed)}."] if failed else [])]) + "\n"


def jobs() -> dict[str, Job]:
    return {f"{row}, seed {seed}": partial(measure, row, seed) for seed in SEEDS for row in (TEACHER, *ROWS)}


if __name__ == "__main__":
    command(__doc__, RESULTS, page, lambda _: jobs())
