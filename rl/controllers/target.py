"""The target of a closed loop: a number, or a schedule that is resolved from the signals at every update.

    target: 0.5
    target: {schedule: {points: [[0, 0.6], [1, 0.4]], unit: fraction, of: initial}}

The schedule's own state lies beside the controller's, under names that begin with ``target_``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from entropostat.rl.controllers.schedule import Schedule, known
from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS

Target = float | Mapping[str, Any]

PREFIX = "target_"
RAMP = 0.05
"""Of the error's scale: a target that moves by more in one update jumps."""


def schedule_of(target: Target) -> Schedule | None:
    """The schedule that ``target`` holds, or None for a number. Raises ValueError where it holds something else."""
    if not isinstance(target, Mapping):
        return None
    if list(target) != ["schedule"] or not isinstance(target["schedule"], Mapping):
        raise ValueError(f"target: give a number or {{schedule: {{points: ...}}}}, not {dict(target)!r}")
    try:
        schedule = CONTROLLERS.build("schedule", target["schedule"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"target: {error.args[0]}") from error
    assert isinstance(schedule, Schedule)
    return schedule


def signals_of(target: Target) -> tuple[str, ...]:
    schedule = schedule_of(target)
    return () if schedule is None else schedule.signals


def passes_zero(target: Target) -> bool:
    """Somewhere the target is 0, so that no error is relative to it."""
    schedule = schedule_of(target)
    values = [target] if schedule is None else [value for _, value in schedule.points]
    return not (all(v > 0 for v in values) or all(v < 0 for v in values))  # type: ignore[operator]


def resolve(target: Target, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
    """(what to remember, the target now). NaN while the initial signal that it is a fraction of is not known."""
    schedule = schedule_of(target)
    if schedule is None:
        return {}, target  # type: ignore[return-value]
    before = {key: state.get(PREFIX + key, value) for key, value in schedule.init().items()}
    after, value = schedule.update(before, signals)
    return {PREFIX + key: item for key, item in after.items()}, value if known(schedule, after) else math.nan


def before_jump(state: State, target: float, scale: float) -> float:
    """Where the target was before it jumped; the target itself if it has not, or moves as a ramp does.

    A loop without a bump gives the jump of its proportional part to the integral. On a ramp that would add up to a lag.
    """
    before = state.get("target", target)
    return before if abs(target - before) > RAMP * scale else target
