"""The picture of a comparison: what collapses, what is held, and what it costs. One panel a question."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["text.parse_math"] = False  # a name with two dollar signs is no formula
from matplotlib import pyplot

if TYPE_CHECKING:
    from entropostat.compare.groups import Group

COLOURS = ("#c0392b", "#1f77b4", "#2a9d5c", "#8e5bb5", "#d98c00")
STYLES = ("-", "--", ":", "-.")
TESTED = re.compile(r"/pass@([0-9]+)\Z")


def draw(runs: list[Group], file: Path) -> None:
    """Write the comparison as PNG. Training curves are thin, or a band over the seeds, with a running median on top."""
    keys = list(dict.fromkeys(key for run in runs for key in run.keys if key.startswith("evaluate/")))
    sets = list(dict.fromkeys(key.split("/")[1] for key in keys))
    sizes = sorted({int(match[1]) for key in keys if (match := TESTED.search(key))})
    most = f"pass@{sizes[-1]}" if sizes else "pass@1"
    figure, axes = pyplot.subplots(2, 4, figsize=(17, 7.6), constrained_layout=True)
    training(axes[0][0], runs, "entropy", "token entropy in training (nats)")
    training(axes[0][1], runs, "reward", "reward in training")
    held_out(axes[0][2], runs, sets, "pass@1", "pass@1, held out")
    held_out(axes[0][3], runs, sets, most, f"{most}, held out")
    held_out(axes[1][0], runs, sets, "entropy_ratio", "H / H_ref, held out")
    shares(axes[1][1], runs, sets)
    divergence(axes[1][2], runs)
    coefficients(axes[1][3], runs)
    for axis in axes.flat:
        mark_stages(axis, runs)
        axis.set_xlabel("optimizer step")
        axis.grid(alpha=0.25)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7, framealpha=0.8)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def training(axis: Any, runs: list[Group], key: str, title: str) -> None:
    axis.set_title(title, fontsize=10)
    for run, colour in zip(runs, COLOURS, strict=False):
        steps, values = run.series(key)
        if steps:
            if len(run.runs) > 1:
                axis.fill_between(*run.band(key), color=colour, alpha=0.18, linewidth=0)
            else:
                axis.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
            axis.plot(steps, smoothed(steps, values, run.stages), color=colour, linewidth=1.8, label=run.name)
    axis.set_ylim(bottom=0)


def divergence(axis: Any, runs: list[Group]) -> None:
    """On a logarithmic scale: single stale tokens throw the k3 estimate up by orders of magnitude."""
    training(axis, runs, "kl", "KL to the initial policy (k3, nats a token)")
    values = [value for run in runs for value in run.series("kl")[1] if value > 0]
    if values:
        axis.set_yscale("log")
        axis.set_ylim(bottom=max(min(values), 1e-3))
    for run, colour in zip(runs, COLOURS, strict=False):
        for knob in run.knobs:
            steps, targets = run.series(f"control/{knob}/target")
            if steps and run.series(f"control/{knob}/signal")[1] == run.series("kl")[1]:
                axis.plot(steps, targets, ":", color=colour, linewidth=1.5, label="its target")


def held_out(axis: Any, runs: list[Group], sets: list[str], part: str, title: str) -> None:
    axis.set_title(title, fontsize=10)
    for run, colour in zip(runs, COLOURS, strict=False):
        for name, style in zip(sets, STYLES, strict=False):
            steps, values = run.series(f"evaluate/{name}/{part}")
            if steps:
                axis.plot(steps, values, style, color=colour, marker="o", markersize=3, label=f"{run.name}: {name}")
                if len(run.runs) > 1:
                    axis.fill_between(*run.band(f"evaluate/{name}/{part}"), color=colour, alpha=0.12, linewidth=0)
    axis.set_ylim(bottom=0)


def shares(axis: Any, runs: list[Group], sets: list[str]) -> None:
    """Mean token entropy hides the one decisive token: the share of a strategy does not."""
    strategies = sorted({key.rpartition("/")[2] for run in runs for key in run.keys if "/share/" in key})
    if not strategies:
        axis.set_title("answers that differ, per prompt", fontsize=10)
        return held_out(axis, runs, sets, "distinct", "distinct completions per prompt, held out")
    shown = strategies[-1]
    return held_out(axis, runs, sets, f"share/{shown}", f"share of completions that go by '{shown}', held out")


def coefficients(axis: Any, runs: list[Group]) -> None:
    axis.set_title("what the controllers set", fontsize=10)
    for run, colour in zip(runs, COLOURS, strict=False):
        for knob, style in zip(run.knobs, STYLES, strict=False):
            steps, values = run.series(f"control/{knob}/output")
            axis.plot(steps, values, style, color=colour, label=f"{run.name}: {knob}")
    if axis.lines:
        axis.set_yscale("log")
    else:
        axis.text(0.5, 0.5, "no controller", ha="center", va="center", transform=axis.transAxes, color="grey")


def mark_stages(axis: Any, runs: list[Group]) -> None:
    for name, step in runs[0].stages.items():
        if step > 0:
            axis.axvline(step, color="black", linewidth=1, alpha=0.6)
            axis.annotate(
                f"{name.partition('/')[2]} prompts",
                (step, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -9),
                textcoords="offset points",
                fontsize=7,
            )


def smoothed(steps: list[int], values: list[float], stages: dict[str, int], window: int = 11) -> list[float]:
    """Centred running median, shorter at the ends, and never across the edge of a stage: a change must not show before
    it happens.
    """
    half = window // 2
    stage = [sum(step > edge for edge in stages.values()) for step in steps]
    out = []
    for i in range(len(values)):
        near = range(max(0, i - half), min(len(values), i + half + 1))
        out.append(statistics.median(values[j] for j in near if stage[j] == stage[i]))
    return out
