"""The policy of policy.py, thrown off its target on purpose: the learning rate is four times itself for six steps.

    python -m benchmarks.holding.disturbed --jobs 2          resumes; writes results/holding/disturbed.{json,md}

Rows: the settings that policy.py chose, at .045 nats, and two with an anchor. Each with and without the disturbance would share
its first half, so a run is compared with its own steps 40 to 80. Means over seeds:

    before     entropy (nats) and pass@1, steps 40 to 80
    peak       largest entropy within 40 steps of the disturbance
    lowest     smallest pass@1 within 40 steps of it
    back       steps from its end until the mean of 4 probes is within 25 % of the entropy before; 'n of m' runs come back at all
    end        entropy and pass@1, last 4 probes
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmarks.experiment import RECORDED, Job, Result, Results, command
from benchmarks.holding import policy_rows
from benchmarks.holding.judging import EVERY, run
from benchmarks.holding.loops import Objective, beside
from benchmarks.holding.policy_rows import FREE, TARGETS, chosen, grid

RESULTS = RECORDED / "holding" / "disturbed.json"
SEEDS = (30, 31, 32)
BEGIN, END, FACTOR = 80, 86, 4.0
SCALE = {"schedule": {"points": [[0, 1.0], [BEGIN, FACTOR], [END, 1.0]], "shape": "hold"}}
SPIKE: Objective = {"scalars": [{"learning_rate": {"scale": SCALE}}]}
NEAR = 0.25
TARGET = TARGETS["above"]


def rows(best: Mapping[str, int]) -> dict[str, Objective]:
    ours = grid(TARGET)["autopilot"][best["autopilot"]]
    return {
        **FREE,
        **{row: grid(TARGET)[row][k] for row, k in best.items()},
        "anchor": beside({}),
        "autopilot and anchor": beside(ours),
    }


def judged(result: Result) -> dict[str, float | None]:
    entropy, right = result["probes"], result["pass"]
    first, last = BEGIN // EVERY, -(-END // EVERY)
    before = statistics.mean(entropy[first // 2 : first + 1])
    late = [abs(statistics.mean(entropy[i : i + 4]) / before - 1) <= NEAR for i in range(last, len(entropy) - 3)]
    return {
        "before": before,
        "before, pass@1": statistics.mean(right[first // 2 : first + 1]),
        "peak": max(entropy[first + 1 : last + 8]),
        "lowest": min(right[first + 1 : last + 8]),
        "back": next((float(EVERY * (last + i) - END) for i, near in enumerate(late) if near), None),
        "end": statistics.mean(entropy[-4:]),
        "end, pass@1": statistics.mean(right[-4:]),
    }


def table(known: Mapping[str, Result], best: Mapping[str, int]) -> str:
    lines = ["# After a disturbance", "", *(__doc__ or "").splitlines()[4:], ""]
    lines += [
        "| row | entropy before | peak | back | end | pass@1 before | lowest | end |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows(best):
        runs = [x for s in SEEDS if (x := known.get(f"{row}|{s}")) is not None]
        fine = [judged(x) for x in runs if "probes" in x]
        if not fine:
            continue
        mean: Any = lambda column, fine=fine: statistics.mean(x[column] for x in fine)
        back = [x["back"] for x in fine if x["back"] is not None]
        steps = f"{statistics.mean(back):.0f} ({len(back)} of {len(runs)})" if back else f"- (0 of {len(runs)})"
        lines.append(
            f"| {row} | {mean('before'):.3f} | {mean('peak'):.2f} | {steps} | {mean('end'):.3f} "
            f"| {mean('before, pass@1'):.2f} | {mean('lowest'):.2f} | {mean('end, pass@1'):.2f} |"
        )
    return "\n".join(lines) + "\n"


def jobs(best: Mapping[str, int]) -> dict[str, Job]:
    return {f"{row}|{s}": partial(run, objective | SPIKE, s) for s in SEEDS for row, objective in rows(best).items()}


if __name__ == "__main__":
    settings = chosen(Results(policy_rows.RESULTS).known)
    command(__doc__, RESULTS, partial(table, best=settings), lambda _: jobs(settings))
