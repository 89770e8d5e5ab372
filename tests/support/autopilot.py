"""The autopilot, and what it may turn."""

from __future__ import annotations

from entropostat.rl.registry import CONTROLLERS

WIDE = {"gain_min": -1.5, "gain_max": 1.5, "bonus_gain": 0.05, "bonus_high": 0.1}
QUICK = {"kp": 5.0, "ki": 0.2, "smoothing": 0.0, "gate": "none", **WIDE}


def autopilot(**options):
    return CONTROLLERS.build("autopilot", {"target": 1.0, **QUICK} | options)
