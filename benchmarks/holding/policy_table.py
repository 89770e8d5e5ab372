"""Tables and picture of policy.py, from its JSON alone."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.holding.judging import EVERY, STEPS, judged
from benchmarks.holding.loops import aim
from benchmarks.holding.policy_rows import (
    ABLATIONS,
    FIRST,
    FREE,
    LAST,
    OPEN,
    REACH,
    REPORTED,
    TARGETS,
    TUNED,
    TUNING,
    chosen,
    grid,
)
from benchmarks.holding.significance import compared, lower_bound

OURS, PLAIN = "autopilot", "GRPO"
SHOWN = (PLAIN, "TRL adaptive entropy", "Entrocraft", "PI on the bonus", OURS)
MARGIN = -0.03
"""Loss of pass@1 against plain GRPO that still counts as none."""
COLUMNS = ("error", "bias", "scatter", "held", "settling", "overshoot", "final", "reward", "pass@1", "pass@8")

Known = Mapping[str, Any]


def page(known: Known, doc: str) -> str:
    lines = ["# Holding an entropy: the quickstart policy on hard prompts", "", *doc.splitlines()[4:], ""]
    lines += reach(known) + tuning(known)
    if best := kept(known):
        lines += report(known, best, whole(known, best))
    return "\n".join(lines) + "\n"


def kept(known: Known) -> dict[str, int]:
    """The settings chosen, once all were tried and a reported seed is whole."""
    tried = [(row, k) for row, settings in grid(0.1).items() for k in range(len(settings))]
    if not all(f"tune|{row}|{k}|{t}|{s}" in known for row, k in tried for t in TUNED for s in TUNING):
        return {}
    best = chosen(known)
    return best if whole(known, best) else {}


def whole(known: Known, best: Mapping[str, int]) -> list[int]:
    """The reported seeds of which every row is there."""
    return [s for s in REPORTED if all(key(row, t, s) in known for row in (*FREE, *best) for t in TARGETS)]


def key(row: str, target: str, seed: int) -> str:
    return f"report|{row}|{seed}" if row in FREE else f"report|{row}|{target}|{seed}"


def reach(known: Known) -> list[str]:
    """What each actuator does at constant values: the mean of the last 8 probes."""
    rows = [name for name in ("plain", *OPEN) if all(f"reach|{name}|{s}" in known for s in REACH)]
    if not rows:
        return []
    lines = ["## What constant actuators reach", "", "Entropy in nats and pass@1, means of the last 8 probes."]
    heads = [f"{what}, seed {s}" for s in REACH for what in ("entropy", "pass@1")]
    lines += ["", "| actuator | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for name in rows:
        runs = [known[f"reach|{name}|{s}"] for s in REACH]
        cells = [f"{statistics.mean(x[what][-8:]):.3f}" for x in runs for what in ("probes", "pass")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    ends = [
        (statistics.mean(x["probes"][-8:]), statistics.mean(x["pass"][-8:]))
        for n in rows
        for x in [known[f"reach|{n}|{s}"] for s in REACH]
    ]
    lines += ["", "The largest pass@1 that any of these runs had, by where its entropy was:", ""]
    edges = (0.0, 0.025, 0.035, 0.045, 0.06, 0.1, 3.0)
    for low, high in itertools.pairwise(edges):
        inside = [p for h, p in ends if low <= h < high]
        if inside:
            lines.append(f"- {low:g} to {high:g} nats: {max(inside):.2f} ({len(inside)} runs)")
    for name in ("start", "plain"):
        noise = [known[f"reach|{name}|{s}"]["noise"] for s in REACH if f"reach|{name}|{s}" in known]
        if noise:
            lines.append(
                f"- noise of the probe, {'initial' if name == 'start' else 'final'} policy: {statistics.mean(noise):.1%}"
            )
    return [*lines, ""]


def tuning(known: Known) -> list[str]:
    """Every setting that was tried."""
    lines = ["", f"## Settings tried, seed {', '.join(map(str, TUNING))}", ""]
    columns = ("error", "bias", "scatter", "held", "final", "pass@1")
    lines += ["| row | setting | target | " + " | ".join(columns) + " |", "|---|---|---|" + "---|" * len(columns)]
    for row, settings in grid(0.1).items():
        for k, name in itertools.product(range(len(settings)), TUNED):
            runs = [known[f"tune|{row}|{k}|{name}|{s}"] for s in TUNING if f"tune|{row}|{k}|{name}|{s}" in known]
            if runs:
                judgements = [judged(x, TARGETS[name]) for x in runs]
                cells = [_cell(c, [x[c] for x in judgements]) for c in columns]
                lines.append(f"| {row} | {k} | {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def report(known: Known, best: Mapping[str, int], seeds: list[int]) -> list[str]:
    lines = [
        f"Reported seeds: {len(seeds)} ({seeds[0]} to {seeds[-1]}). Settings chosen on the tuning seed: {dict(best)}."
    ]
    runs_of = {
        (row, name): [judged(known[key(row, name, s)], target) for s in seeds]
        for name, target in TARGETS.items()
        for row in (*FREE, *best)
    }
    noise = statistics.mean(known[key(PLAIN, "", s)].get("noise", math.nan) for s in seeds)
    lines += [f"Noise of the probe on the final policies of plain GRPO: {noise:.1%}."]
    for name, target in TARGETS.items():
        what = f"{target:g} nats" if not isinstance(target, dict) else f"{FIRST:g} to {LAST:g} nats"
        lines += ["", f"## {name}: {what}", "", "| row | " + " | ".join(COLUMNS) + " | pass@1 lost at most |"]
        lines.append("|---|" + "---|" * (len(COLUMNS) + 1))
        runs_of |= {
            (row, name): [judged(known[key(row, name, s)], target) for s in seeds]
            for row in ABLATIONS
            if all(key(row, name, s) in known for s in seeds)
        }
        plain = np.array([x["pass@1"] for x in runs_of[PLAIN, name]])
        for row in (*FREE, *best, *ABLATIONS):
            if (row, name) not in runs_of:
                continue
            runs = runs_of[row, name]
            cells = [_cell(c, [x[c] for x in runs]) for c in COLUMNS]
            bound = (
                lower_bound(np.array([x["pass@1"] for x in runs]) - plain) if row != PLAIN and len(seeds) > 1 else 0.0
            )
            lost = f"{-bound:.3f}" + (" ok" if bound > MARGIN else "")
            lines.append(f"| {row} | " + " | ".join(cells) + f" | {'' if row == PLAIN else lost} |")
    logs = {
        row: [np.array([math.log(x["error"]) for x in runs_of[row, name]]) for name in TARGETS]
        for row in (*FREE, *best)
    }
    return lines + compared(OURS, logs)


def _cell(column: str, values: list[float]) -> str:
    mean = statistics.mean(values)
    return f"{mean:.0f}" if column == "settling" else f"{mean:.3f}" if column == "final" else f"{mean:.2f}"


def picture(known: Known, path: Path) -> None:
    if not (best := kept(known)):
        return
    seeds = whole(known, best)
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(TARGETS), figsize=(4 * len(TARGETS), 3.4), sharey=True)
    for axis, (name, target) in zip(axes, TARGETS.items(), strict=True):
        for row in SHOWN:
            curves = np.array([x["probes"] for s in seeds if "probes" in (x := known[key(row, name, s)])])
            steps = EVERY * np.arange(curves.shape[1])
            axis.plot(steps, curves.mean(0), label=row, lw=2.2 if row == OURS else 1.2)
            if row == OURS:
                axis.fill_between(steps, curves.min(0), curves.max(0), alpha=0.15)
        axis.plot(steps, [aim(target, step) for step in steps], "k--", lw=1)
        axis.set(title=f"target {name}", xlabel="step", xlim=(0, STEPS), ylim=(0.01, 0.5), yscale="log")
    axes[0].set_ylabel("entropy of the probe, nats per token")
    axes[-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
