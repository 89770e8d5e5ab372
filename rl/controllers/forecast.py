"""The entropy change that first-order theory foresees for an update, on the scale of what it has been worth so far.

Within a generation of several updates, what was foreseen for the updates so far is set against the entropy change of tokens
that none of them has trained on: a probe for free. Recursive least squares of a line through 0, with forgetting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entropostat.rl.controllers.measure import measurement
from entropostat.rl.info import State

CONFIDENCE = 1.645
"""Standard errors below the slope at which it must still be above 0: one-sided, 95 %."""
LEAST = 5.0
"""Pairs, after forgetting, below which no slope is believed."""


@dataclass(frozen=True)
class Forecast:
    """Names of the signals, and how the slope is learned. Its part of a controller's state begins with ``line_``."""

    foreseen: str
    realised: str
    generation: str
    forgetting: float
    slope_max: float

    def init(self) -> State:
        sums = {"line_n": 0.0, "line_xx": 0.0, "line_xy": 0.0, "line_yy": 0.0}
        return {**sums, "line_generation": -1.0, "line_whole": 0.0, "slope": 0.0, "foreseen": 0.0, "step": 0.0}

    def learn(self, state: State, signals: Mapping[str, float]) -> State:
        """What changes with one window. ``foreseen`` is the sum since the generation, ``step`` the last window's own."""
        step, realised = measurement(signals, self.foreseen), measurement(signals, self.realised)
        generation = measurement(signals, self.generation)
        if math.isnan(generation):
            return {"line_whole": 0.0, "step": 0.0}
        if generation != state["line_generation"]:  # nothing has been trained on: the change is 0 by construction
            new = {"foreseen": 0.0, "line_generation": generation, "line_whole": 1.0}
        else:
            new = self.pair(state, realised) | {key: state[key] for key in ("foreseen", "line_whole")}
        if math.isnan(step):  # a sum with a gap is no forecast of this generation any more
            return new | {"line_whole": 0.0, "step": 0.0}
        return new | {"foreseen": new["foreseen"] + step, "step": step}

    def pair(self, state: State, realised: float) -> State:
        """One more point of the line: what was foreseen until this window, and what its tokens show."""
        x, y = state["foreseen"], realised
        if math.isnan(y) or not state["line_whole"]:
            return {}
        sums = {"n": 1.0, "xx": x * x, "xy": x * y, "yy": y * y}
        n, xx, xy, yy = (self.forgetting * state[f"line_{key}"] + value for key, value in sums.items())
        new = {"line_n": n, "line_xx": xx, "line_xy": xy, "line_yy": yy, "realised": y}
        if n < LEAST or xx <= 0:
            return {**new, "slope": 0.0}
        slope = xy / xx
        spread = math.sqrt(max(yy - slope * xy, 0.0) / (n - 1) / xx)
        believed = slope - CONFIDENCE * spread > 0
        return {**new, "slope": min(slope, self.slope_max) if believed else 0.0}

    def change(self, state: State) -> float:
        """The entropy change of the next update, nats, if it is like the last one."""
        return state["slope"] * state["step"]
