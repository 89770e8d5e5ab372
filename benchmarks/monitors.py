"""What the monitors cost of a step: all of them together, at 64 prompts x 8 completions x 512 tokens.

    python -m benchmarks.monitors          writes results/monitors.{json,md}; 7 minutes

A whole step of the trainer on one thread: a generation, its scoring, and one update over all of its tokens, with TERMS of
cost/subjects.py and an answer key for every completion; the policy is that which generated, so that there are no ratios. The
model is so small that nobody would train it: what the monitors do hardly depends on the model, so that of a larger one they are
a smaller part. The first step warms up and is left out.

    all in every step       tracking.monitor_every 1: groups, answers, texts and entropies, and ratios and forces of the update
    by default              the same with ratios and forces in one generation in five
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import TrainerCallback

from benchmarks.cost.subjects import Size, build
from benchmarks.experiment import RECORDED
from entropostat.recipe.machine_blocks import Tracking
from entropostat.trainers.watch import monitors

RESULTS = RECORDED / "monitors.json"
PROMPTS, MICRO = 64, 16
LIMIT = 0.02
"""Of the time of a step."""
SIZES = {
    "whole": Size(
        "monitored", layers=2, hidden=64, vocabulary=1024, tokens=512, accumulation=32, steps_per_generation=32
    ),
    "short": Size("short", layers=1, hidden=32, vocabulary=64, tokens=16, accumulation=2, steps_per_generation=2),
}
PARTS: dict[str, tuple[Any, str]] = {
    "answers and their information": (monitors, "of_answers"),
    "texts: distinct-n, Vendi, likeness": (monitors, "pool_texts"),
    "repetition": (monitors.text, "repetition"),
    "entropies and spikes": (monitors.Monitors, "_note_entropy"),
    "ratios": (monitors, "trust"),
    "forces": (monitors.Monitors, "_note_forces"),
    "logging, with the laws": (monitors.Monitors, "after_close"),
}
OF_STEPS = ("ratios", "forces")
"""Parts of one generation in ``tracking.monitor_every``."""


class Times(TrainerCallback):
    """Seconds of each step, and of each part of the monitors in it."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.parts: list[dict[str, float]] = []
        self._now = dict.fromkeys(PARTS, 0.0)
        self._began = 0.0

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            before = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._now[part] += time.perf_counter() - before

        return run

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        now = time.perf_counter()
        self.steps.append(now - self._began)
        self.parts.append(self._now)
        self._began, self._now = now, dict.fromkeys(PARTS, 0.0)


def measure(size: Size, steps: int) -> dict[str, Any]:
    trainer = build(ours=True, size=size, steps=steps + 1, tracking=Tracking(monitor_every=1))
    rows = size.micro_batch * size.steps_per_generation
    trainer.answer_keys = lambda: [f"answer {(i // size.generations) % 7 + i * i % 5}" for i in range(rows)]
    times = Times()
    trainer.add_callback(times)
    for part, (owner, name) in PARTS.items():
        setattr(owner, name, times.timed(part, getattr(owner, name)))
    trainer.train()
    spent = [row["health/monitor_ms"] / 1e3 for row in trainer.state.log_history if "health/monitor_ms" in row][1:]
    return {
        "versions": {name: version(name) for name in ("torch", "trl", "transformers")},
        "size": f"{rows // size.generations} prompts x {size.generations} completions x {size.tokens} tokens; {size.describe()}",
        "steps": times.steps[1:],
        "monitors": spent,
        "parts": {part: [each[part] for each in times.parts[1:]] for part in PARTS},
    }


def shares(result: dict[str, Any]) -> tuple[float, float]:
    """Of the time of a step: all in every step, and by default."""
    every = Tracking().monitor_every
    of_steps = [sum(values) for values in zip(*(result["parts"][part] for part in OF_STEPS), strict=True)]
    rows = list(zip(result["monitors"], of_steps, result["steps"], strict=True))
    whole = statistics.median(spent / step for spent, _, step in rows)
    return whole, statistics.median((spent - part * (1 - 1 / every)) / step for spent, part, step in rows)


def page(result: dict[str, Any]) -> str:
    step, (whole, usual) = statistics.median(result["steps"]), shares(result)
    verdict = lambda share: "pass" if share <= LIMIT else "FAIL"
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = ["# What the monitors cost", "", *(__doc__ or "").strip().splitlines()[4:], ""]
    lines += [f"Made with {versions}, on CPU, one thread. {result['size']}.", ""]
    lines += [f"Medians of {len(result['steps'])} steps of {step:.0f} s.", ""]
    lines += ["| monitors | of a step | bar | |", "|---|---|---|---|"]
    for name, share in (("all in every step", whole), ("by default", usual)):
        lines.append(f"| {name} | {share:.2%} | {LIMIT:.0%} | {verdict(share)} |")
    lines += ["", "| part | ms a step |", "|---|---|"]
    lines += [f"| {part} | {1e3 * statistics.median(values):.0f} |" for part, values in result["parts"].items()]
    lines.append(f"| all, with what is not listed | {1e3 * statistics.median(result['monitors']):.0f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed (default 3)")
    parser.add_argument("--short", action="store_true", help="a tiny size, to see that the script runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--jobs", type=int, default=1, help="0: only the page")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if options.jobs:
        result = measure(SIZES["short" if options.short else "whole"], options.steps)
        options.results.write_text(json.dumps(result, indent=1) + "\n")
    result = json.loads(options.results.read_text())
    options.results.with_suffix(".md").write_text(page(result))
    print(page(result))
    return 0 if max(shares(result)) <= LIMIT or options.short else 1


if __name__ == "__main__":
    sys.exit(main())
