"""The least error of a bounded loop: against the closed form without bounds, and against loops that are simulated."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from benchmarks.holding.bounded import best
from benchmarks.holding.limit import limit

PHI, Q, R, PUSH = 0.97, 0.025**2, 0.09**2, 0.04


def simulated(gain: float, decay: float, lag: float, steps: int = 40_000, acted: bool = False) -> tuple[float, float]:
    """Standard deviations of x and u under a proportional loop on a smoothed signal, which may count in what the loop has done."""
    random = np.random.default_rng(0)
    w, v = random.normal(0, math.sqrt(Q), steps), random.normal(0, math.sqrt(R), steps)
    x = m = seen = 0.0
    xs, us = np.empty(steps), np.empty(steps)
    for k in range(steps):
        u = -gain * seen
        seen = decay * seen + (1 - decay) * (x + v[k])
        m = lag * m + (1 - lag) * u
        seen = PHI * seen + PUSH * m if acted else seen
        xs[k], us[k] = x, u
        x = PHI * x + PUSH * m + w[k]
    return float(xs.std()), float(us.std())


def test_an_actuator_without_bounds_or_lag_reaches_the_closed_form():
    forecast = limit(PHI, Q, R)  # of x from all signals before; u acts on the x after that
    expected = math.sqrt(PHI**2 * forecast**2 + Q)
    assert best(PHI, Q, R, PUSH, size=1e9, lag=0.0).error == pytest.approx(expected, rel=1e-3)


def test_an_actuator_of_no_size_leaves_the_open_loop_and_more_of_it_never_harms():
    errors = [best(PHI, Q, R, PUSH, size).error for size in (0.0, 0.05, 0.1, 0.2, 0.4)]
    assert errors[0] == pytest.approx(math.sqrt(Q / (1 - PHI**2)))
    assert all(a > b for a, b in itertools.pairwise(errors))
    assert best(PHI, Q, R, PUSH, 0.1, lag=0.0).error < errors[2]


@pytest.mark.parametrize("gain", [0.5, 1.5, 3.0])
@pytest.mark.parametrize("lag", [0.0, 0.9])
def test_no_simulated_loop_is_better_and_a_fair_one_comes_near(gain, lag):
    error, size = simulated(gain, 0.8, lag)
    bound = best(PHI, Q, R, PUSH, size, lag).error
    assert bound * 0.98 < error < bound * 1.15


def test_the_loop_that_is_named_is_the_one_whose_error_is_said():
    """Its gain on its smoothed signal, without lag, where the estimate needs nothing else."""
    loop = best(PHI, Q, R, PUSH, 0.1, lag=0.0)
    error, size = simulated(loop.gain, loop.smoothing, 0.0, acted=True)
    assert error == pytest.approx(loop.error, rel=0.03) and size == pytest.approx(0.1, rel=0.1)
