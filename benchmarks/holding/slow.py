"""A first sight of policy.py's question where the policy moves less within one step: a quarter of the rate, three times the steps.

    python -m benchmarks.holding.slow --jobs 2          resumes; writes results/holding/slow.{json,md}

Columns are those of policy.py, judged over the last third; a probe every 15 steps. First constant actuators (seed 5), then
three settings of two loops at three targets (seed 7). Targets and the time to settle were set between the two. One seed each: this
compares no row with another, and chooses no setting.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial

from benchmarks.experiment import RECORDED, Job, Result, command
from benchmarks.holding.judging import NOISE, judged, run
from benchmarks.holding.loops import Objective, autopilot, bonus, tilt

RESULTS = RECORDED / "holding" / "slow.json"
STEPS, EVERY, SETTLED = 480, 15, 320
SLOW = (
    "trainer.learning_rate=2.5e-4",
    f"data.curriculum=[{{source: hard, steps: {STEPS}}}]",
    f"evaluate.every={EVERY}",
)
OPEN: dict[str, Objective] = {
    "plain": {},
    **{f"bonus {c:g}": bonus(c) for c in (-0.1, -0.05, 0.04, 0.08, 0.12, 0.2)},
    **{f"tilt {g:g}": tilt(g) for g in (-0.4, 0.2, 0.4)},
}
TARGETS = {"below": 0.012, "near": 0.015, "above": 0.018}
"""Constant actuators that do not ruin the policy end between .009 (bonus -.1) and .022 nats (bonus .12), plain GRPO at .015."""
PI = {"signal": "entropy", "effect": "raises", "low": -0.1, "high": 0.12, "smoothing": 0.8, "warmup": 20}
BOUNDS = {"gain_max": 0.4, "bonus_low": -0.1, "bonus_high": 0.12}
SEED_OPEN, SEED_CLOSED = 5, 7
COLUMNS = ("error", "bias", "scatter", "held", "final", "pass@1", "pass@8")


def loops(target: float) -> dict[str, Objective]:
    gains = ((0.3, 0.015), (0.3, 0.005), (0.6, 0.03))
    rest = ({}, {"smoothing": 0.8}, {"smoothing": 0.8, "ki": 0.05})
    return {
        **{f"PI on the bonus|{k}": bonus({"pid": {**PI, "target": target, "kp": p, "ki": i}}) for k, (p, i) in enumerate(gains)},
        **{f"autopilot|{k}": autopilot(target, **BOUNDS, **options) for k, options in enumerate(rest)},
    }  # fmt: skip


def jobs() -> dict[str, Job]:
    all_jobs: dict[str, Job] = {f"reach|{row}": partial(run, one, SEED_OPEN, NOISE, SLOW) for row, one in OPEN.items()}
    for name, target in TARGETS.items():
        all_jobs |= {
            f"tune|{row}|{name}": partial(run, one, SEED_CLOSED, more=SLOW) for row, one in loops(target).items()
        }
    return all_jobs


def page(known: Mapping[str, Result]) -> str:
    lines = ["# Holding an entropy with smaller steps: a first sight", "", *(__doc__ or "").splitlines()[4:], ""]
    lines += ["## What constant actuators reach", "", "Means of the last 8 probes.", ""]
    lines += ["| actuator | entropy | noise of the probe | pass@1 |", "|---|---|---|---|"]
    for row in OPEN:
        if "probes" in (one := known.get(f"reach|{row}", {})):
            entropy, right = (statistics.mean(one[what][-8:]) for what in ("probes", "pass"))
            lines.append(f"| {row} | {entropy:.4f} | {one['noise']:.1%} | {right:.3f} |")
    lines += ["", "## Loops", "", "| target | row | setting | " + " | ".join(COLUMNS) + " |"]
    lines.append("|---|---|---|" + "---|" * len(COLUMNS))
    for name, target in TARGETS.items():
        for row in loops(target):
            if (one := known.get(f"tune|{row}|{name}")) is not None:
                judgement = judged(one, target, EVERY, SETTLED)
                cells = [f"{judgement[c]:.3f}" if c in ("final", "pass@1") else f"{judgement[c]:.2f}" for c in COLUMNS]
                lines.append(f"| {name}, {target:g} | {row.replace('|', ' | ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    command(__doc__, RESULTS, page, lambda _: jobs())
