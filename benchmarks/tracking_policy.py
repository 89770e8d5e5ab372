"""The same question as tracking.py for a real policy: the quickstart's, trained on hard prompts only (hard.yaml).

    python benchmarks/tracking_policy.py --jobs 2          resumes; writes results/tracking-policy.{json,md,png}

Three stages, each on seeds of its own; the seed varies pre-training and RL:

1. reach: every actuator at constant values, open loop. A target is reachable if one of them ends on each side of it.
2. tuning: the settings of ``grid`` at the targets TUNED; the setting with the least mean log error is kept.
3. report: the kept settings on fresh seeds. Rows without a target run once per seed, and count at every target.

Entropy is judged on a probe that no controller sees: 64 held-out prompts x 8 samples, every 5 steps, exact over the vocabulary.
All shares are of the target at that step, over the second half:

    error      root mean square distance of the probe to the target
    bias       distance of the mean: what is left when the policy's own unrest is averaged out
    scatter    standard deviation about that mean: error^2 = bias^2 + scatter^2
    held       share of the probes within 10 % of the target
    settling   first step from which the mean of 8 probes stays within 10 %; the length of the run if there is none
    overshoot  largest distance beyond the target after first meeting it
    noise      coefficient of variation of the probe on one frozen policy with other samples

Before the first stage the autopilot's loop was improved on seed 5 of this task (about 25 runs); no other row was. Every row got a
third setting, for the autopilot narrower bounds, after the first two had been tried and before the third stage.
A run that fails counts as an error of 10 and a pass@1 of 0.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pilots import GAINS
from benchmarks.policy import Job, Result, Results, experiment

RECIPE = Path(__file__).parent / "hard.yaml"
RESULTS = Path(__file__).parent / "results" / "tracking-policy.json"
STEPS, EVERY, NOISE, BAND = 160, 5, 8, 0.1
FIRST, LAST = 0.2, 0.045
TARGETS: dict[str, Any] = {
    "below": 0.02,
    "near": 0.03,
    "above": 0.045,
    "decaying": {"schedule": {"points": [[0, FIRST], [STEPS, LAST]]}},
}
"""Plain GRPO ends at .028 nats on the seed of the first stage; above .05 no constant setting kept its pass@1."""
REACH, TUNING, REPORTED = (5,), (7,), (30, 31, 32, 33, 34, 35, 36, 37, 38, 39)
TUNED = ("above", "decaying")
FAILED = 10.0

Objective = dict[str, Any]
Grid = Callable[[Any], dict[str, list[Objective]]]
Judge = Callable[[Result, Any], Mapping[str, float]]
"""Target -> row -> its settings."""
GAIN = "weights.entropy_tilt.gain"


def aim(target: Any, step: float) -> float:
    """The target at a step, nats."""
    if not isinstance(target, dict):
        return float(target)
    steps, values = zip(*target["schedule"]["points"], strict=True)
    return float(np.interp(step, steps, values))


def bonus(coef: Any) -> Objective:
    return {"penalties": [{"entropy_bonus": {"coef": coef}}]}


def tilt(gain: Any) -> Objective:
    return {"weights": [{"entropy_tilt": {"gain": gain}}]}


def autopilot(target: Any, **options: Any) -> Objective:
    follow = {"follow": {"knob": GAIN, "key": "rest"}}
    return tilt({"autopilot": {"target": target, "patience": 20, **GAINS, **options}}) | bonus(follow)


def shaped(**term: Any) -> Objective:
    return {"advantages": [{"grpo": {}}, term]}


OPEN: dict[str, Objective] = {
    **{f"bonus {c:g}": bonus(c) for c in (-0.1, -0.05, -0.02, 0.04, 0.08, 0.12)},
    **{f"tilt {g:g}": tilt(g) for g in (-0.7, 0.2, 0.4, 0.7)},
    "anchor 0.1": {"penalties": [{"kl_ref": {"coef": 0.1}}]},
}
"""The first stage."""

FREE: dict[str, Objective] = {
    "GRPO": {},
    "fixed bonus": bonus(0.01),
    "Clip-Cov": {"weights": [{"clip_cov": {"fraction": 0.02, "low": 0.1, "high": 50.0}}]},
    "KL-Cov": {"penalties": [{"kl_cov": {"fraction": 0.02, "coef": 1.0}}]},
}
"""Rows that take no target, as published but for fractions that this small a batch can meet."""


def grid(target: Any) -> dict[str, list[Objective]]:
    """Row -> its settings, as many for each. Every row sees the moving target at every step."""
    moving = lambda factor=1.0: times(factor, target)
    pi = {"signal": "entropy", "target": target, "effect": "raises", "low": -0.1, "high": 0.12, "smoothing": 0.8}
    return {
        "TRL adaptive entropy": [
            bonus({"step": {"target": target, "delta": d, "high": 0.12}}) for d in (0.0005, 0.005, 0.015)
        ],
        "AEPO": [{"penalties": [{"aepo": {"target": moving(), "coef": c, "success": 0.5}}]} for c in (0.023, 1.0, 4.0)],
        "DCPO": [
            shaped(dcpo={"target": moving(), "cap": c, "t_high": 1 + h, "t_low": 1 - h})
            for c, h in ((0.1, 0.2), (0.02, 0.5), (0.3, 0.5))
        ],
        "EntroPIC": [
            shaped(entropic={"alpha": {"entropic": {"target": target, "kp": p, "ki": i}}})
            for p, i in ((1.0, 0.01), (10.0, 0.1), (30.0, 0.3))
        ],
        "Entrocraft": [
            shaped(entrocraft={"center": 0.5, "lower": moving(1 - w), "upper": moving(1 + w)}) for w in (0.05, 0.2, 0.1)
        ],
        "PI on the bonus": [
            bonus({"pid": {**pi, "warmup": 20, "kp": p, "ki": i}})
            for p, i in ((0.02, 0.001), (0.1, 0.005), (0.3, 0.015))
        ],
        "autopilot": [autopilot(target, **o) for o in PILOTS],
    }


PILOTS: tuple[dict[str, Any], ...] = (
    {"gain_min": -1.5, "gain_max": 1.5, "bonus_high": 0.1},
    {"gain_max": 0.4, "bonus_low": -0.1, "bonus_high": 0.1},
    {},
)
"""The bounds of the exact plant; less re-weighting, as constant tilts cost more pass@1 than constant bonuses; and a bonus within .02,
which is no more of either than the first stage found harmless."""
ABLATIONS: dict[str, dict[str, Any]] = {
    "autopilot, feed-forward": {"feed_forward": 0.5},
    "autopilot, tilt only": {"bonus_gain": 0.0},
    "autopilot, wide bounds": {"gain_min": -1.5, "gain_max": 1.5, "bonus_high": 0.1},
}
"""Of the chosen setting; at the targets TUNED, and in no comparison."""


def times(factor: float, target: Any) -> Any:
    """The target for a term that has one of its own: a number, or a controller that follows the schedule."""
    if not isinstance(target, dict):
        return factor * target
    return {"schedule": {"points": [[step, factor * value] for step, value in target["schedule"]["points"]]}}


def overrides(objective: Objective, seed: int) -> list[str]:
    return [f"seed={seed}", *(f"objective.{slot}={json.dumps(terms)}" for slot, terms in objective.items())]


def run(objective: Objective, seed: int, noise: int = 0, more: Sequence[str] = ()) -> Result:
    with experiment(RECIPE, [*overrides(objective, seed), *more]) as one:
        lines = one.train()
        again = [one.probe(seed=1000 + k)["hard/entropy"] for k in range(noise)]
    probes = [line for line in lines if "evaluate/hard/entropy" in line]
    last = probes[-4:]
    return {
        "probes": [round(x["evaluate/hard/entropy"], 5) for x in probes],
        "pass": [round(x["evaluate/hard/pass@1"], 4) for x in probes],
        "reward": statistics.mean(line["reward"] for line in lines[-20:] if "reward" in line),
        "pass@1": statistics.mean(x["evaluate/hard/pass@1"] for x in last),
        "pass@8": statistics.mean(x["evaluate/hard/pass@8"] for x in last),
        **({"noise": statistics.stdev(again) / statistics.mean(again)} if again else {}),
    }


def frozen(seed: int) -> Result:
    """The probe's noise on the policy that training starts from."""
    with experiment(RECIPE, [f"seed={seed}"]) as one:
        again = [one.probe(seed=1000 + k)["hard/entropy"] for k in range(NOISE)]
    return {"noise": statistics.stdev(again) / statistics.mean(again), "entropy": statistics.mean(again)}


def judged(found: Result, target: Any, every: int = EVERY, settled: int = STEPS // 2) -> dict[str, float]:
    """How a run did at a target, from step ``settled`` on, with a probe ``every`` steps."""
    if "failed" in found:
        return dict.fromkeys(("error", "bias", "scatter", "overshoot"), FAILED) | {
            "held": 0.0, "settling": float(STEPS), "pass@1": 0.0, "pass@8": 0.0, "reward": 0.0, "final": math.nan
        }  # fmt: skip
    share = [h / aim(target, every * i) - 1 for i, h in enumerate(found["probes"])]
    late = share[-(-settled // every) :]
    bias = statistics.mean(late)
    inside = [abs(statistics.mean(share[i : i + 8])) <= BAND for i in range(len(share) - 7)]
    stays = next((i for i in range(len(inside)) if all(inside[i:])), None)
    met = next((i for i, x in enumerate(share) if x * share[0] <= 0), None)
    return {
        "error": math.sqrt(statistics.mean(x * x for x in late)),
        "bias": bias,
        "scatter": statistics.pstdev(late),
        "held": statistics.mean(abs(x) <= BAND for x in late),
        "settling": float(every * (len(share) - 1 if stays is None else stays)),
        "overshoot": 0.0 if met is None else max(0.0, *(-x * math.copysign(1, share[0]) for x in share[met:])),
        "final": statistics.mean(found["probes"][-4:]),
        **{key: found[key] for key in ("pass@1", "pass@8", "reward")},
    }


def score(
    results: Mapping[str, Result],
    row: str,
    k: int,
    aims: Mapping[str, Any],
    seeds: Sequence[int],
    judge: Judge = judged,
) -> list[float]:
    """Mean log error and mean pass@1 of a setting, over targets and tuning seeds."""
    tried = [judge(results[f"tune|{row}|{k}|{name}|{s}"], target) for name, target in aims.items() for s in seeds]
    return [statistics.mean(math.log(x["error"]) for x in tried), statistics.mean(x["pass@1"] for x in tried)]


def nearest(
    results: Mapping[str, Result], grid: Grid, aims: Mapping[str, Any], seeds: Sequence[int], judge: Judge = judged
) -> dict[str, int]:
    """Row -> the setting with the least mean log error."""
    return {
        row: min(range(len(settings)), key=lambda k, row=row: score(results, row, k, aims, seeds, judge)[0])
        for row, settings in grid(0.1).items()
    }


def tuning(grid: Grid, aims: Mapping[str, Any], seeds: Sequence[int], more: Sequence[str] = ()) -> dict[str, Job]:
    return {
        f"tune|{row}|{k}|{name}|{s}": partial(run, objective, s, 0, more)
        for s in seeds
        for name, target in aims.items()
        for row, settings in grid(target).items()
        for k, objective in enumerate(settings)
    }


def chosen(results: Mapping[str, Result]) -> dict[str, int]:
    return nearest(results, grid, {name: TARGETS[name] for name in TUNED}, TUNING)


def stage_reach() -> dict[str, Job]:
    jobs = {f"reach|{name}|{s}": partial(run, objective, s) for s in REACH for name, objective in OPEN.items()}
    jobs |= {f"reach|plain|{s}": partial(run, {}, s, NOISE) for s in REACH}
    return jobs | {f"reach|start|{s}": partial(frozen, s) for s in REACH}


def stage_tuning() -> dict[str, Job]:
    return tuning(grid, {name: TARGETS[name] for name in TUNED}, TUNING)


def stage_report(best: dict[str, int], seeds: tuple[int, ...]) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    for s in seeds:
        jobs |= {f"report|{row}|{s}": partial(run, objective, s, NOISE) for row, objective in FREE.items()}
        for name, target in TARGETS.items():
            settings = grid(target)
            jobs |= {f"report|{row}|{name}|{s}": partial(run, settings[row][k], s) for row, k in best.items()}
    return jobs


def stage_ablation(best: dict[str, int], seeds: tuple[int, ...]) -> dict[str, Job]:
    ours = PILOTS[best["autopilot"]]
    return {
        f"report|{row}|{name}|{s}": partial(run, autopilot(TARGETS[name], **ours | options), s)
        for s in seeds
        for name in TUNED
        for row, options in ABLATIONS.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--stages", nargs="+", default=["reach", "tuning", "report", "ablation"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTED))
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = Results(arguments.results)
    if "reach" in arguments.stages:
        results.complete(stage_reach(), arguments.jobs)
    if "tuning" in arguments.stages:
        results.complete(stage_tuning(), arguments.jobs)
    if "report" in arguments.stages:
        results.complete(stage_report(chosen(results.known), tuple(arguments.seeds)), arguments.jobs)
    if "ablation" in arguments.stages:
        results.complete(stage_ablation(chosen(results.known), tuple(arguments.seeds)), arguments.jobs)
    from benchmarks.tracking_policy_table import write

    write(results.known, arguments.results)


if __name__ == "__main__":
    main()
