"""Feed-forward: what the autopilot learns of the change of entropy that its tokens foretell."""

from __future__ import annotations

import math
import random

import pytest
from support.autopilot import autopilot

from entropostat.rl.controllers.forecast import Forecast


def learn(pairs, **options):
    """Generations of two windows: what is foreseen for the first, and what the second shows of it."""
    forecast = Forecast("f", "r", "g", **{"forgetting": 0.98, "slope_max": 1.0} | options)
    state = forecast.init()
    for generation, (foreseen, realised) in enumerate(pairs):
        for f, r in ((foreseen, 0.0), (0.0, realised)):
            state = state | forecast.learn(state, {"f": f, "r": r, "g": float(generation)})
    return forecast, state


def draws(slope, spread, count=200, seed=0):
    draw = random.Random(seed)
    x = [draw.gauss(0, 1) for _ in range(count)]
    return [(a, slope * a + spread * draw.gauss(0, 1)) for a in x]


def test_the_slope_is_learned_from_the_tokens_that_are_not_trained_on_yet():
    _, state = learn(draws(0.3, 0.1))
    assert state["slope"] == pytest.approx(0.3, abs=0.03)
    assert learn(draws(3.0, 0.1))[1]["slope"] == 1.0
    for doubtful in (draws(-0.3, 0.1), draws(0.0, 1.0, seed=3), draws(0.3, 0.0, count=4)):
        assert learn(doubtful)[1]["slope"] == 0


def test_what_was_foreseen_adds_up_within_a_generation_and_a_gap_spoils_that_one_only():
    forecast = Forecast("f", "r", "g", 1.0, 10.0)
    state = forecast.init()
    for generation in (0.0, 1.0):
        for k in range(4):
            gap = generation == 1.0 and k == 1
            signals = {"f": math.nan if gap else 0.5, "r": 2 * 0.5 * k, "g": generation}
            state = state | forecast.learn(state, signals)
            assert gap or generation == 1.0 or state["foreseen"] == 0.5 * (k + 1)
    assert state["line_n"] == 3 + 1 and state["line_xy"] == pytest.approx(2 * state["line_xx"])
    assert not any(math.isnan(x) for x in state.values())


def test_feed_forward_acts_before_the_entropy_has_moved_and_only_up_to_its_share():
    for share, want in ((0.0, 0.0), (1.0, 5.0 * 0.4 * 0.2), (0.1, 0.15)):
        controller = autopilot(feed_forward=share, slope_max=0.4)
        state = controller.init() | learn(draws(0.9, 0.01), slope_max=0.4)[1]
        signals = {"entropy": 1.0, "entropy_tilt/predicted": -0.2, "entropy_tilt/generation": 1e6}
        state, _ = controller.update(state, signals)
        assert state["feed"] == pytest.approx(want) and state["slope"] == pytest.approx(0.4)
