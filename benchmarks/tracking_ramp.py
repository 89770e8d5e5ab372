"""What a falling target costs: a ramp above, and one within, what entropy a policy that can do the task has.

    python benchmarks/tracking_ramp.py --jobs 2          resumes; writes results/tracking-ramp.{json,md}

Task, rows and settings are those of tracking_policy.py. Its ramp, .2 to .045 nats, asks for .16 to .12 nats in steps 40 to 80. The
first two tables, from the runs recorded there, show what pass@1 goes with such an entropy, and which rows went along. The ramp here, .1 to
.04 nats, was then chosen from the first table alone, a fifth to a quarter above plain GRPO halfway and where plain GRPO is at the end.
It is run on ten seeds that nothing had seen, with the settings as they were.

    first, bias     root mean square and mean distance of the probe to the target, as shares of it, steps 20 to 75
    second, bias    the same over the second half, by which rows are compared
    held            share of the probes of the second half within 10 %
    final           entropy, mean of the last 4 probes
    difference      of pass@1 to plain GRPO, paired by seed, and its standard error
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.policy import Job, Result, Results, command
from benchmarks.significance import below_zero
from benchmarks.tracking_policy import EVERY, FREE, REPORTED, STEPS, TARGETS, Objective, aim, chosen, grid, judged, run
from benchmarks.tracking_policy import RESULTS as TRACKED

RESULTS = Path(__file__).parent / "results" / "tracking-ramp.json"
SEEDS = (50, 51, 52, 53, 54, 55, 56, 57, 58, 59)
LOW: dict[str, Any] = {"schedule": {"points": [[0, 0.1], [STEPS, 0.04]]}}
EDGES = (0.0, 0.025, 0.035, 0.045, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, math.inf)
SETTLED = 40
"""Steps after which the first table counts: before, every run falls from the entropy of the first policy."""
OURS, PLAIN = "autopilot", "GRPO"
COLUMNS = ("first", "first bias", "second", "bias", "held", "final", "pass@1", "pass@8")


def rows(best: Mapping[str, int]) -> dict[str, Objective]:
    """Those of the question first."""
    settings = grid(LOW)
    found = FREE | {row: settings[row][k] for row, k in best.items()}
    first = (PLAIN, OURS, "PI on the bonus")
    return {row: found[row] for row in (*first, *(row for row in found if row not in first))}


def jobs(best: Mapping[str, int]) -> dict[str, Job]:
    return {f"{row}|{s}": partial(run, objective, s) for row, objective in rows(best).items() for s in SEEDS}


def distance(found: Result, target: Any, first: int, last: int) -> tuple[float, float]:
    """Root mean square and mean of the probes' distances, as shares of the target, steps ``first`` to ``last``."""
    steps = range(first, last + 1, EVERY)
    shares = [found["probes"][step // EVERY] / aim(target, step) - 1 for step in steps]
    return math.sqrt(statistics.mean(x * x for x in shares)), statistics.mean(shares)


def columns(found: Result, target: Any) -> dict[str, float]:
    first, first_bias = distance(found, target, 20, STEPS // 2 - EVERY)
    late = judged(found, target)
    second = {"second": late["error"], **{c: late[c] for c in ("bias", "held", "final", "pass@1", "pass@8")}}
    return {"first": first, "first bias": first_bias, **second}


def frontier(recorded: Mapping[str, Result]) -> list[str]:
    """pass@1 by entropy, over the probes of all reported runs."""
    runs = [one for name, one in recorded.items() if name.startswith("report|") and "probes" in one]
    pairs = np.array(
        [x for one in runs for x in list(zip(one["probes"], one["pass"], strict=True))[SETTLED // EVERY :]]
    )
    lines = [f"## pass@1 by entropy: {len(runs)} runs of all rows and targets, probes from step {SETTLED} on", ""]
    lines += ["| nats | probes | pass@1: median | nine in ten below | largest |", "|---|---|---|---|---|"]
    for low, high in itertools.pairwise(EDGES):
        right = pairs[(low <= pairs[:, 0]) & (pairs[:, 0] < high), 1]
        span = f"{low:g} to {high:g}" if high < math.inf else f"above {low:g}"
        cells = (np.median(right), np.quantile(right, 0.9), right.max())
        lines.append(f"| {span} | {len(right)} | " + " | ".join(f"{x:.2f}" for x in cells) + " |")
    return [*lines, ""]


def line(row: str, found: Sequence[Mapping[str, float]], more: str = "") -> str:
    means = {c: statistics.mean(x[c] for x in found) for c in COLUMNS}
    return (
        f"| {row} | "
        + " | ".join(f"{means[c]:.3f}" if c == "final" else f"{means[c]:.2f}" for c in COLUMNS)
        + f" |{more}"
    )


def page(known: Mapping[str, Result], recorded: Mapping[str, Result], best: Mapping[str, int]) -> str:
    lines = ["# What a falling target costs", "", *(__doc__ or "").splitlines()[4:], "", *frontier(recorded)]
    head = "| row | " + " | ".join(COLUMNS) + " |"
    lines += [f"## .2 to .045 nats, recorded: {len(REPORTED)} seeds", "", head, "|---|" + "---|" * len(COLUMNS)]
    for row in best:
        runs = [recorded[f"report|{row}|decaying|{s}"] for s in REPORTED]
        lines.append(line(row, [columns(one, TARGETS["decaying"]) for one in runs if "probes" in one]))
    whole = [row for row in rows(best) if all("probes" in known.get(f"{row}|{s}", {}) for s in SEEDS)]
    lines += ["", f"## .1 to .04 nats: seeds {SEEDS[0]} to {SEEDS[-1]}", "", head + " difference |"]
    lines.append("|---|" + "---|" * (len(COLUMNS) + 1))
    found = {row: [columns(known[f"{row}|{s}"], LOW) for s in SEEDS] for row in whole}
    for row in whole:
        change = np.array([x["pass@1"] for x in found[row]]) - np.array([x["pass@1"] for x in found[PLAIN]])
        spread = f" {change.mean():+.2f} ({change.std(ddof=1) / math.sqrt(len(change)):.2f}) |"
        lines.append(line(row, found[row], " |" if row == PLAIN else spread))
    return "\n".join(lines + compared(found)) + "\n"


def compared(found: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    logs = {row: np.array([math.log(x["second"]) for x in runs]) for row, runs in found.items()}
    others = {row: logs[OURS] - log for row, log in logs.items() if row != OURS} if OURS in logs else {}
    if not others:
        return []
    p = below_zero(others)
    lines = [
        "",
        f"{OURS} against the others: difference of the mean log error over the second half, paired by seed (negative: ours is",
    ]
    lines += [
        "nearer its target); one-sided exact sign-flip test, Holm's correction.",
        "",
        "| row | difference | p |",
        "|---|---|---|",
    ]
    return lines + [f"| {row} | {change.mean():+.2f} | {p[row]:.3f} |" for row, change in others.items()]


if __name__ == "__main__":
    before = Results(TRACKED).known
    settings = chosen(before)
    command(__doc__, RESULTS, jobs(settings), partial(page, recorded=before, best=settings))
