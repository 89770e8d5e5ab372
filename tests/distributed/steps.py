"""Worker: replay one recorded generation with the step radius, at the layout that the arguments of replay.py name."""

from __future__ import annotations

import functools
from typing import Any

import replay

from entropostat.recipe.blocks import Optimizer, StepRadius

RADIUS = StepRadius(target=0.02, quantile=0.9)
"""Far below what a step of this recording does, so that each one is shortened."""


def run(original: Any, *args: Any) -> dict[str, Any]:
    """What ``replay.run`` gives, and what the governor logged."""
    made: list[Any] = []
    base = replay.Replay

    def build(*args: Any, **kwargs: Any) -> Any:
        made.append(base(*args, optimizer=Optimizer(step_radius=RADIUS), **kwargs))
        return made[-1]

    replay.Replay = build
    try:
        result = original(*args)
    finally:
        replay.Replay = base
    rows = [row for row in made[0].state.log_history if "radius/r" in row]
    return result | {"ratios": [r["radius/r"] for r in rows], "scales": [r["radius/scale"] for r in rows]}


if __name__ == "__main__":
    replay.CASES = {"step radius": {}}
    replay.run = functools.partial(run, replay.run)
    replay.main()
