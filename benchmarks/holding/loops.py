"""Targets, and objectives that hold them: what the benchmarks of this folder share."""

from __future__ import annotations

from typing import Any

import numpy as np

Objective = dict[str, Any]
GAIN = "weights.entropy_tilt.gain"
GAINS = {"kp": 5.0, "ki": 0.2, "smoothing": 0.5, "gain_min": -0.4, "gain_max": 0.4}
"""The autopilot's gains that the recorded runs had where they name none, found on the exact plant. The defaults are gentler: anchor.py."""
ANCHOR: Objective = {"kl_ref": {"coef": 0.1}}


def aim(target: Any, step: float) -> float:
    """The target at a step, nats."""
    if not isinstance(target, dict):
        return float(target)
    steps, values = zip(*target["schedule"]["points"], strict=True)
    return float(np.interp(step, steps, values))


def times(factor: float, target: Any) -> Any:
    """The target for a term that has one of its own: a number, or a controller that follows the schedule."""
    if not isinstance(target, dict):
        return factor * target
    return {"schedule": {"points": [[step, factor * value] for step, value in target["schedule"]["points"]]}}


def bonus(coef: Any) -> Objective:
    return {"penalties": [{"entropy_bonus": {"coef": coef}}]}


def tilt(gain: Any) -> Objective:
    return {"weights": [{"entropy_tilt": {"gain": gain}}]}


def autopilot(target: Any, **options: Any) -> Objective:
    follow = {"follow": {"knob": GAIN, "key": "rest"}}
    return tilt({"autopilot": {"target": target, "patience": 20, **GAINS, **options}}) | bonus(follow)


def shaped(**term: Any) -> Objective:
    return {"advantages": [{"grpo": {}}, term]}


def beside(objective: Objective) -> Objective:
    """With the anchor."""
    return {**objective, "penalties": [ANCHOR, *objective.get("penalties", [])]}
