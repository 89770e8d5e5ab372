"""Runs of the quickstart policy on hard prompts (hard.yaml), and how well one held its target."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.experiment import ROOT, Job, Result, experiment
from benchmarks.holding.loops import Objective, aim

RECIPE = ROOT / "benchmarks" / "hard.yaml"
STEPS, EVERY, NOISE, BAND = 160, 5, 8, 0.1
FAILED = 10.0
Grid = Callable[[Any], dict[str, list[Objective]]]
"""Target -> row -> its settings."""
Judge = Callable[[Result, Any], Mapping[str, float]]


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


def judged(result: Result, target: Any, every: int = EVERY, settled: int = STEPS // 2) -> dict[str, float]:
    """How a run did at a target, from step ``settled`` on, with a probe ``every`` steps."""
    if "failed" in result:
        return dict.fromkeys(("error", "bias", "scatter", "overshoot"), FAILED) | {
            "held": 0.0, "settling": float(STEPS), "pass@1": 0.0, "pass@8": 0.0, "reward": 0.0, "final": math.nan
        }  # fmt: skip
    share = [h / aim(target, every * i) - 1 for i, h in enumerate(result["probes"])]
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
        "final": statistics.mean(result["probes"][-4:]),
        **{key: result[key] for key in ("pass@1", "pass@8", "reward")},
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
