"""The policy of policy.py, held once it can do the task: beside an anchor, with an eighth of the learning rate from step 60 on.

    python -m benchmarks.holding.settled --jobs 2          resumes; writes results/holding/settled.{json,md}

At the full rate entropy moves by more within one step than a loop may be off (limit.py). Most runs lower their rate; what a
loop can do then is asked here. Loops begin to act when the rate has been cut. Columns are those of policy.py, judged over
steps 160 to 320, a probe every 5; 'met' counts the runs with nine probes in ten within 10 % of the target, and an error, less the noise
of the probe, of at most 6 % or twice that noise. At the lowest target most runs are still on their way at step 160: 'late', over steps
240 to 320, was added when the first five seeds had shown that.

1. reach: constant bonuses beside the anchor, one seed, before the targets below were set.
2. tuning: two settings of each loop on two seeds; the one with the least mean log error is kept. Before, 18
   runs of the autopilot and 10 of PI on the same seeds, at the full rate, a quarter and this one, had shown how large the gains must be,
   and that the bonus must not be at its bound.
3. report: the kept settings on fresh seeds; ten were planned, and time allowed eight.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from benchmarks.experiment import RECORDED, Job, Result, command
from benchmarks.holding.judging import EVERY, NOISE, judged, nearest, run, score, tuning
from benchmarks.holding.loops import Objective, autopilot, beside, bonus
from benchmarks.holding.significance import compared, lower_bound

RESULTS = RECORDED / "holding" / "settled.json"
STEPS, CUT, SETTLED, LATE = 320, 60, 160, 240
MORE = (f"data.curriculum=[{{source: hard, steps: {STEPS}}}]",)
RATE: Objective = {
    "scalars": [{"learning_rate": {"scale": {"schedule": {"points": [[0, 1.0], [CUT, 0.125]], "shape": "hold"}}}}]
}
TARGETS = {"below": 0.0125, "near": 0.016, "above": 0.02}
"""The anchor alone falls from .019 to .013 nats in the steps that are judged."""
TUNED = {name: TARGETS[name] for name in ("near", "above")}
SEED, TUNING, SEEDS = 44, (44, 45), tuple(range(70, 78))
CONSTANT = (-0.3, 0.3)
PLAIN, ALONE, OURS, OTHER = "GRPO", "anchor", "autopilot and anchor", "PI on the bonus and anchor"
BOUND = 0.5
BARS = {"error": 0.06, "held": 0.9}
COLUMNS = ("error", "bias", "scatter", "held", "late error", "late held", "final", "pass@1", "pass@8")


def settled(objective: Objective) -> Objective:
    return RATE | beside(objective)


def pilot(target: float, bonus_gain: float, ki: float) -> Objective:
    gains = {"kp": 6.0, "ki": ki, "bonus_gain": bonus_gain, "smoothing": 0.9, "gain_min": -0.2, "gain_max": 0.2}
    return settled(autopilot(target, **gains, bonus_low=-BOUND, bonus_high=BOUND, patience=CUT + 10))


def pi(target: float, kp: float, ki: float) -> Objective:
    loop = {"signal": "entropy", "target": target, "effect": "raises", "warmup": CUT + 10, "smoothing": 0.9}
    return settled(bonus({"pid": {**loop, "kp": kp, "ki": ki, "low": -BOUND, "high": BOUND}}))


def grid(target: float) -> dict[str, list[Objective]]:
    return {
        OURS: [pilot(target, gain, ki) for gain, ki in ((0.5, 0.2), (1.0, 0.1))],
        OTHER: [pi(target, kp, ki) for kp, ki in ((3.0, 0.1), (6.0, 0.1))],
    }


def constant(coef: float) -> Objective:
    return settled(bonus({"schedule": {"points": [[0, 0.0], [CUT, coef]], "shape": "hold"}}))


def judge(one: Result, target: Any) -> dict[str, float]:
    late = judged(one, target, EVERY, LATE)
    return judged(one, target, EVERY, SETTLED) | {f"late {key}": late[key] for key in ("error", "held")}


def reach(_: Mapping[str, Result]) -> dict[str, Job]:
    return {f"reach|{c:g}|{SEED}": partial(run, constant(c), SEED, 0, MORE) for c in CONSTANT}


def tries(_: Mapping[str, Result]) -> dict[str, Job]:
    return tuning(grid, TUNED, TUNING, MORE)


def best(known: Mapping[str, Result]) -> dict[str, int]:
    return nearest(known, grid, TUNED, TUNING, judge)


def report(known: Mapping[str, Result]) -> dict[str, Job]:
    kept, jobs = best(known), {}
    for s in SEEDS:
        jobs[f"{PLAIN}|{s}"] = partial(run, RATE, s, NOISE, MORE)
        jobs[f"{ALONE}|{s}"] = partial(run, settled({}), s, 0, MORE)
        for name, target in TARGETS.items():
            jobs |= {f"{row}|{name}|{s}": partial(run, grid(target)[row][k], s, 0, MORE) for row, k in kept.items()}
    return jobs


def met(one: Mapping[str, float], noise: float) -> bool:
    corrected = math.sqrt(max(one["error"] ** 2 - noise**2, 0.0))
    return corrected <= max(BARS["error"], 2 * noise) and one["held"] >= BARS["held"]


def line(row: str, runs: list[dict[str, float]], noise: float) -> str:
    cells = [
        f"{statistics.mean(x[c] for x in runs):.{2 if c in ('held', 'late held', 'pass@1', 'pass@8') else 3}f}"
        for c in COLUMNS
    ]
    return f"| {row} | {sum(met(x, noise) for x in runs)} of {len(runs)} | " + " | ".join(cells) + " |"


def table(first: str, *more: str) -> list[str]:
    names = (first, "met", *COLUMNS, *more)
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]


def page(known: Mapping[str, Result]) -> str:
    lines = ["# Holding an entropy with settled steps", "", *(__doc__ or "").splitlines()[4:], ""]
    lines += ["## What constant actuators reach", "", "| bonus | entropy, last 4 probes | pass@1 |", "|---|---|---|"]
    for c in CONSTANT:
        if one := known.get(f"reach|{c:g}|{SEED}"):
            lines.append(f"| {c:g} | {statistics.mean(one['probes'][-4:]):.4f} | {one['pass@1']:.3f} |")
    if not tries(known).keys() <= known.keys():
        return "\n".join(lines) + "\n"
    lines += ["", "## Settings tried", "", "| row | setting | geometric mean of the error |", "|---|---|---|"]
    for row, k in ((row, k) for row, settings in grid(0.02).items() for k in range(len(settings))):
        kept = ", kept" if best(known)[row] == k else ""
        lines.append(f"| {row} | {k}{kept} | {math.exp(score(known, row, k, TUNED, TUNING, judge)[0]):.3f} |")
    errors: dict[str, list[np.ndarray]] = {}
    seeds = [s for s in SEEDS if all(f"{row}|{n}|{s}" in known for row in (OURS, OTHER) for n in TARGETS)]
    noise = statistics.mean([known[f"{PLAIN}|{s}"]["noise"] for s in seeds] or [0.0])
    for name, target in TARGETS.items() if seeds else ():
        lines += ["", f"## {name}, {target:g} nats: {len(seeds)} seeds", ""]
        lines += table("row", "pass@1 less plain GRPO's", "surely above")
        rows = {row: [judge(known[f"{row}|{s}"], target) for s in seeds] for row in (PLAIN, ALONE)}
        rows |= {row: [judge(known[f"{row}|{name}|{s}"], target) for s in seeds] for row in (OURS, OTHER)}
        for row, runs in rows.items():
            change = np.array([x["pass@1"] - y["pass@1"] for x, y in zip(runs, rows[PLAIN], strict=True)])
            sure = f" {change.mean():+.3f} | {lower_bound(change):+.3f} |" if row != PLAIN else " | |"
            lines.append(line(row, runs, noise) + sure)
            errors.setdefault(row, []).append(np.array([math.log(x["error"]) for x in runs]))
    if seeds:
        lines += compared(OURS, errors)
        lines += ["", f"Noise of the probe on the final policies of plain GRPO: {noise:.1%}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    command(__doc__, RESULTS, page, reach, tries, report)
