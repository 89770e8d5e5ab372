"""The rows of exact_plant.py: its targets, seeds and settings, as they were committed before the runs; and which was chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from benchmarks.experiment import RECORDED, Result
from benchmarks.holding import loops
from benchmarks.holding.loops import times
from benchmarks.holding.plant import Size
from entropostat.rl.objective import normalise_terms

RESULTS = RECORDED / "holding" / "exact_plant.json"
SIZE = Size(windows=2, noise=0.1, steps=400)
SPIKE = (400, 5, 10.0)
"""First step, number of steps and factor of the disturbance; RECOVERY steps follow it."""
RECOVERY = 100
TUNING, REPORTED = (100, 101), tuple(range(10, 20))

DECAY = {"schedule": {"points": [[0, 1.4], [400, 0.4]]}}
TARGETS: dict[str, Any] = {"below": 0.1, "near": 0.25, "above": 0.9, "decaying": DECAY}
"""Plain GRPO ends at about .24 nats (pilot on the tuning seeds)."""

Spec = dict[str, Any]


def spec(**slots: Any) -> Spec:
    slots = {"advantages": [{"grpo": {}}], **slots}
    return {name: normalise_terms(terms) for name, terms in slots.items()} | {
        "loss": ("ppo_clip", "ppo_clip", {"epsilon": 0.2, "epsilon_high": 0.28})
    }


def bonus(coef: Any) -> Spec:
    return spec(**loops.bonus(coef))


def pi(target: Any, kp: float, ki: float, **options: Any) -> Spec:
    options = {"smoothing": 0.5, "low": -0.02, "high": 0.3, "gate": "none", **options}
    return bonus({"pid": {"signal": "entropy", "target": target, "kp": kp, "ki": ki, **options}})


WIDE = {"gain_min": -1.5, "gain_max": 1.5, "bonus_high": 0.1}
"""Bounds of the autopilot here. Its defaults are narrower: this much ruins a policy that learns (policy.py)."""
PATIENT = {"patience": 40, "smoothing": 0.0, "bonus_gain": 0.1, "bonus_low": -0.3, "bonus_high": 0.6}
AWAKE = {"warmup": 40, "smoothing": 0.0, "low": -0.3, "high": 0.6}
"""The same for the PI."""


def autopilot(target: Any, **options: Any) -> Spec:
    return spec(**loops.autopilot(target, **{"patience": 1, **WIDE, **options}))


GRID: dict[str, list[Any]] = {
    "GRPO": [lambda t: spec()],
    "fixed bonus": [lambda t, c=c: bonus(c) for c in (0.005, 0.02, 0.05, 0.1, 0.001, 0.01, 0.03, -0.02)],
    "TRL adaptive entropy": [
        lambda t, d=d: bonus({"step": {"target": t, "delta": d, "high": 0.3}})
        for d in (0.0005, 0.001, 0.005, 0.02, 0.002, 0.003, 0.008, 0.012)
    ],
    "Clip-Cov": [
        lambda t, f=f: spec(weights=[{"clip_cov": {"fraction": f, "low": 0.0, "high": 5.0}}])
        for f in (2e-4, 2e-3, 0.02, 0.2, 5e-4, 0.01, 0.05, 0.1)
    ],
    "KL-Cov": [
        lambda t, f=f, c=c: spec(penalties=[{"kl_cov": {"fraction": f, "coef": c}}])
        for f, c in ((2e-3, 1.0), (0.02, 1.0), (0.2, 1.0), (0.02, 10.0), (0.1, 1.0), (0.2, 2.0), (0.5, 1.0), (0.2, 0.5))
    ],
    "AEPO": [
        lambda t, c=c: spec(penalties=[{"aepo": {"target": t, "coef": c, "success": 0.5}}])
        for c in (0.023, 0.1, 0.3, 1.0, 0.6, 1.5, 2.0, 4.0)
    ],
    "DCPO": [
        lambda t, c=c, h=h: spec(
            advantages=[{"grpo": {}}, {"dcpo": {"target": t, "cap": c, "t_high": 1 + h, "t_low": 1 - h}}]
        )
        for c, h in ((0.1, 0.2), (0.3, 0.2), (0.1, 0.5), (0.3, 0.5), (0.6, 0.5), (0.3, 0.7), (0.6, 0.7), (0.05, 0.7))
    ],
    "EntroPIC": [
        lambda t, kp=kp, ki=ki: spec(
            advantages=[{"grpo": {}}, {"entropic": {"alpha": {"entropic": {"target": t, "kp": kp, "ki": ki}}}}]
        )
        for kp, ki in ((1, 0.01), (1, 0.1), (3, 0.1), (0.3, 0.01), (0.1, 1e-3), (0.3, 1e-3), (1, 1e-3), (10, 0.1))
    ],
    "Entrocraft": [
        lambda t, w=w, g=g: spec(
            advantages=[
                {"grpo": {}},
                {"entrocraft": {"center": 0.5, "lower": times(1 - w, t), "upper": times(1 + w, t), "gain": g}},
            ]
        )
        for w, g in ((0.02, 1), (0.05, 1), (0.1, 1), (0.2, 1), (0.005, 1), (0.01, 1), (0.02, 3), (0.02, 10))
    ],
    "PI on the bonus": [
        *(lambda t, p=p, i=i: pi(t, p, i) for p, i in ((0.1, 0.005), (0.3, 0.01), (1.0, 0.05), (0.3, 0.05))),
        *(lambda t, p=p, i=i: pi(t, p, i, **AWAKE) for p, i in ((1.5, 0.05), (1.5, 0.03), (2.0, 0.05), (1.0, 0.02))),
    ],
    "autopilot": [
        lambda t, o=o: autopilot(t, **o)
        for o in (
            {},
            {"bonus_gain": 0.1},
            {"kp": 10.0, "ki": 0.5},
            {"kp": 10.0, "ki": 0.5, "bonus_gain": 0.1},
            {"kp": 15.0, "ki": 0.5, **PATIENT},
            {"kp": 15.0, "ki": 0.3, **PATIENT},
            {"kp": 20.0, "ki": 0.5, **PATIENT},
            {"kp": 15.0, "ki": 0.5, **PATIENT, "patience": 20},
        )
    ],
}


def log_error(result: Mapping[str, Any]) -> float:
    worst = math.log(SIZE.symbols)
    error = result.get("error", worst)
    return math.log(max(error if math.isfinite(error) else worst, 1e-6))


def choose(row: str, known: Mapping[str, Result]) -> int:
    """The setting with the smallest mean log error on the tuning seeds, over all targets."""
    mean = [sum(log_error(known[f"{row}|{i}|{t}|{s}"]) for t in TARGETS for s in TUNING) for i in range(len(GRID[row]))]
    return mean.index(min(mean))
