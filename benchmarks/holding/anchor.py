"""The policy of policy.py, held at a target beside an anchor; and what pass@1 an entropy allows.

    python -m benchmarks.holding.anchor --jobs 2          resumes; writes results/holding/anchor.{json,md}

1. What entropy goes with what pass@1, over the runs recorded by policy.py, and which of its rows went along with its ramp,
   which asks for .16 to .12 nats in steps 40 to 80.
2. A lower ramp, .1 to .04 nats, chosen from the first table alone: a fifth to a quarter above plain GRPO halfway, and where plain GRPO is
   at the end. The settings that policy.py chose, without an anchor; on these seeds one of ten autopilot runs lost all it could do.
3. The same loops beside an anchor (kl_ref, .1, to the policy that training starts from), at all targets and that ramp. Eight settings were
   tried for the autopilot and five for PI, on two other seeds at three targets; the one with the least mean log error is reported.
4. To tell the anchor's part from the setting's: the autopilot of 3 without the anchor ('less tilt', the bonus within .1), on both ramps.

The rows of 2 and 3 run on ten seeds on which no setting was chosen; those of 2 had been seen before 3
was tried. Shares are of the target at that step:

    first, first bias   root mean square and mean distance of the probe to the target, steps 20 to 75
    error, bias         the same over the second half; rows are compared by the error
    held                share of the probes within 10 %, second half
    final               entropy, mean of the last 4 probes
    difference          of pass@1 to plain GRPO, paired by seed; its standard error; 'surely above' is its one-sided 95 % lower bound
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.experiment import RECORDED, Job, Result, Results, command
from benchmarks.holding import policy_rows
from benchmarks.holding.judging import EVERY, FAILED, STEPS, judged, nearest, run, score, tuning
from benchmarks.holding.loops import Objective, aim, autopilot, beside, bonus
from benchmarks.holding.policy_rows import REPORTED, TARGETS, chosen, grid
from benchmarks.holding.significance import compared, lower_bound

RESULTS = RECORDED / "holding" / "anchor.json"
SEEDS = (50, 51, 52, 53, 54, 55, 56, 57, 58, 59)
LOW: dict[str, Any] = {"schedule": {"points": [[0, 0.1], [STEPS, 0.04]]}}
AIMS: dict[str, Any] = {**TARGETS, "decaying, lower": LOW}
PLAIN, ALONE, OURS, OTHER = "GRPO", "anchor", "autopilot and anchor", "PI on the bonus and anchor"
PI, LESS = "PI on the bonus", "autopilot, less tilt"
RAMPS = ("decaying, lower", "decaying")
TUNING = (44, 45)
TUNED = {name: AIMS[name] for name in ("above", "below", "decaying, lower")}
NARROW = {"bonus_low": -0.1, "bonus_high": 0.1}
WIDER = {"bonus_low": -0.2, "bonus_high": 0.2}
SOFT = {"kp": 6.0, "ki": 0.3, **WIDER}
LITTLE = {"gain_min": -0.2, "gain_max": 0.2}
LEAST = {"gain_min": -0.1, "gain_max": 0.1}
PILOTS: tuple[dict[str, float], ...] = (
    NARROW,
    WIDER,
    {"smoothing": 0.8, **WIDER},
    {"ki": 0.5, **WIDER},
    {"smoothing": 0.8, "ki": 0.4, **WIDER},
    {**LITTLE, "smoothing": 0.8, **SOFT},
    {**LEAST, "smoothing": 0.8, **SOFT},
    {**LEAST, "smoothing": 0.5, **SOFT},
)
"""Settings of the autopilot. The last three give the bonus the gains of the first PI, and the tilt less."""
GAINS = ((0.3, 0.015, 0.8), (0.3, 0.03, 0.8), (0.15, 0.015, 0.8), (0.3, 0.015, 0.5), (0.15, 0.03, 0.5))
"""kp, ki and smoothing of the PI."""
EDGES = (0.0, 0.025, 0.035, 0.045, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, math.inf)
FALLEN = 40
"""Step from which the first table counts: before, every run falls from the entropy of the first policy."""
COLUMNS = ("first", "first bias", "error", "bias", "held", "final", "pass@1", "pass@8")


def free() -> dict[str, Objective]:
    """Rows without a target."""
    return {PLAIN: {}, ALONE: beside({})}


def grid_beside(target: Any) -> dict[str, list[Objective]]:
    """Row -> the settings tried, all beside the anchor."""
    pi = {"signal": "entropy", "target": target, "effect": "raises", "warmup": 20, "low": -0.2, "high": 0.2}
    gains = [dict(zip(("kp", "ki", "smoothing"), one, strict=True)) for one in GAINS]
    return {
        OURS: [beside(autopilot(target, **options)) for options in PILOTS],
        OTHER: [beside(bonus({"pid": pi | one})) for one in gains],
    }


def best(known: Mapping[str, Result]) -> dict[str, int]:
    return nearest(known, grid_beside, TUNED, TUNING)


def loops(target: Any, known: Mapping[str, Result]) -> dict[str, Objective]:
    """Row -> the setting that is kept."""
    return {row: grid_beside(target)[row][k] for row, k in best(known).items()}


def jobs(chosen_bare: Mapping[str, int], known: Mapping[str, Result]) -> dict[str, Job]:
    all_jobs = {f"{row}|{s}": partial(run, one, s) for row, one in free().items() for s in SEEDS}
    ours = grid(LOW)["autopilot"][chosen_bare["autopilot"]]
    all_jobs |= {f"autopilot|decaying, lower|{s}": partial(run, ours, s) for s in SEEDS}
    for s, (name, target) in itertools.product(SEEDS, AIMS.items()):
        all_jobs |= {f"{row}|{name}|{s}": partial(run, one, s) for row, one in loops(target, known).items()}
    for name, s in itertools.product(RAMPS, SEEDS):
        all_jobs[f"{LESS}|{name}|{s}"] = partial(
            run, autopilot(AIMS[name], smoothing=0.8, **LITTLE, **SOFT | NARROW), s
        )
        all_jobs[f"{PI}|{name}|{s}"] = partial(run, grid(AIMS[name])[PI][chosen_bare[PI]], s)
    return all_jobs


def columns(result: Result, target: Any) -> dict[str, float]:
    if "failed" in result:
        return {"first": FAILED, "first bias": FAILED, **judged(result, target)}
    shares = [result["probes"][step // EVERY] / aim(target, step) - 1 for step in range(20, STEPS // 2, EVERY)]
    first = {"first": math.sqrt(statistics.mean(x * x for x in shares)), "first bias": statistics.mean(shares)}
    return {**first, **judged(result, target)}


def line(row: str, runs: Sequence[Mapping[str, float]], more: str = "") -> str:
    means = {c: statistics.mean(x[c] for x in runs) for c in COLUMNS}
    return (
        f"| {row} | " + " | ".join(f"{x:.3f}" if c == "final" else f"{x:.2f}" for c, x in means.items()) + f" |{more}"
    )


def frontier(recorded: Mapping[str, Result]) -> list[str]:
    """pass@1 by entropy, over the probes of all reported runs; and how the rows did on the ramp."""
    runs = [one for name, one in recorded.items() if name.startswith("report|") and "probes" in one]
    pairs = np.array([x for one in runs for x in list(zip(one["probes"], one["pass"], strict=True))[FALLEN // EVERY :]])
    lines = [
        f"## pass@1 by entropy: {len(runs)} recorded runs of all rows and targets, probes from step {FALLEN} on",
        "",
    ]
    lines += ["| nats | probes | pass@1: median | nine in ten below | largest |", "|---|---|---|---|---|"]
    for low, high in itertools.pairwise(EDGES):
        right = pairs[(low <= pairs[:, 0]) & (pairs[:, 0] < high), 1]
        span = f"{low:g} to {high:g}" if high < math.inf else f"above {low:g}"
        if not len(right):
            continue
        cells = (np.median(right), np.quantile(right, 0.9), right.max())
        lines.append(f"| {span} | {len(right)} | " + " | ".join(f"{x:.2f}" for x in cells) + " |")
    lines += ["", f"## decaying, .2 to .045 nats: {len(REPORTED)} recorded seeds, no anchor", "", *head()]
    for row in grid(0.1):
        ramp = [recorded[f"report|{row}|decaying|{s}"] for s in REPORTED]
        lines.append(line(row, [columns(one, TARGETS["decaying"]) for one in ramp]))
    return lines


def tried(known: Mapping[str, Result]) -> list[str]:
    if not tuning(grid_beside, TUNED, TUNING).keys() <= known.keys():
        return []
    lines = ["", f"## Settings tried beside the anchor: seeds {TUNING}, {', '.join(TUNED)}", ""]
    lines += ["| row | setting | geometric mean of the error | pass@1 |", "|---|---|---|---|"]
    for row, settings in grid_beside(0.1).items():
        for k in range(len(settings)):
            error, right = score(known, row, k, TUNED, TUNING)
            lines.append(
                f"| {row} | {k}{', kept' if k == best(known)[row] else ''} | {math.exp(error):.3f} | {right:.2f} |"
            )
    return lines


def head(*more: str) -> list[str]:
    names = ("row", *COLUMNS, *more)
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]


def page(known: Mapping[str, Result], recorded: Mapping[str, Result]) -> str:
    lines = [
        "# Holding an entropy beside an anchor",
        "",
        *(__doc__ or "").splitlines()[4:],
        "",
        *frontier(recorded),
        *tried(known),
    ]
    errors: dict[str, list[np.ndarray]] = {}
    for name, target in AIMS.items():
        what = "" if isinstance(target, dict) else f", {target:g} nats"
        lines += ["", f"## {name}{what}: seeds {SEEDS[0]} to {SEEDS[-1]}", "", *head("difference", "surely above")]
        rows = {row: [f"{row}|{s}" for s in SEEDS] for row in free()}
        rows |= {row: [f"{row}|{name}|{s}" for s in SEEDS] for row in (OURS, OTHER, PI, "autopilot", LESS)}
        columns_of = {
            row: [columns(known[key], target) for key in keys]
            for row, keys in rows.items()
            if all(key in known for key in keys)
        }
        for row, runs in columns_of.items():
            change = np.array([x["pass@1"] for x in runs]) - np.array([x["pass@1"] for x in columns_of[PLAIN]])
            spread = f" {change.mean():+.2f} ({change.std(ddof=1) / math.sqrt(len(SEEDS)):.2f}) | {lower_bound(change):+.3f} |"
            lines.append(line(row, runs, " | |" if row == PLAIN else spread))
            errors.setdefault(row, []).append(np.array([math.log(x["error"]) for x in runs]))
    everywhere = {row: logs for row, logs in errors.items() if len(logs) == len(AIMS)}
    return "\n".join(lines + compared(OURS, everywhere)) + "\n"


if __name__ == "__main__":
    before = Results(policy_rows.RESULTS).known
    command(
        __doc__,
        RESULTS,
        partial(page, recorded=before),
        lambda _: tuning(grid_beside, TUNED, TUNING),
        partial(jobs, chosen(before)),
    )
