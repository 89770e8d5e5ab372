"""The limit of benchmarks/holding/limit.py against simulated policies whose numbers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.holding.limit import fitted, inside, likelihood, limit, needed

PHI, Q, R, NOISE = 0.9, 0.004, 0.05, 0.02


def policy(steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = np.zeros(steps)
    for i in range(1, steps):
        x[i] = PHI * x[i - 1] + math.sqrt(Q) * draw.standard_normal()
    probe = np.where(np.arange(steps) % 5 == 0, x + NOISE * draw.standard_normal(steps), np.nan)
    return x + 0.3 + math.sqrt(R) * draw.standard_normal(steps), probe - 3.5


def test_a_simulated_policy_is_recognised():
    signal, probe = policy(3000, 1)
    phi, q, r = fitted(signal - 3.5, probe, NOISE)
    assert phi == pytest.approx(PHI, abs=0.03) and q == pytest.approx(Q, rel=0.2) and r == pytest.approx(R, rel=0.1)


def test_the_filter_s_likelihood_is_that_of_one_joint_normal_distribution():
    signal, probe = policy(40, 3)
    theta = np.array([math.atanh(0.8), math.log(0.01), math.log(0.03), 0.2, 0.1])
    at, apart = np.arange(40), np.flatnonzero(np.isfinite(probe))
    place = np.concatenate([at, apart])
    seen = np.concatenate([signal - 0.2 - 0.1, probe[apart] - 0.2])
    noise = np.concatenate([np.full(40, 0.03), np.full(len(apart), NOISE**2)])
    spread = 0.01 / (1 - 0.8**2) * 0.8 ** np.abs(place[:, None] - place) + np.diag(noise)
    wanted = 0.5 * (np.linalg.slogdet(spread)[1] + seen @ np.linalg.solve(spread, seen))
    assert likelihood(theta, signal, probe, NOISE) == pytest.approx(wanted, rel=1e-9)


def test_the_limit_is_what_the_best_forecast_leaves_over():
    """Against a long simulation of the loop that cancels all that its forecast foresees."""
    draw, x, guess, p, left = np.random.default_rng(2), 0.0, 0.0, Q, []
    for _ in range(200_000):
        left.append(x - guess)
        gain = p / (p + R)
        guess = PHI * (guess + gain * (x + math.sqrt(R) * draw.standard_normal() - guess))
        p = PHI**2 * p * R / (p + R) + Q
        x = PHI * x + math.sqrt(Q) * draw.standard_normal()
    assert limit(PHI, Q, R) == pytest.approx(np.std(left), rel=0.02)
    assert inside(limit(PHI, Q, R)) == pytest.approx(np.mean(np.abs(left) <= 0.1), abs=0.01)


def test_with_the_completions_that_are_named_the_bars_are_met_and_with_fewer_not():
    phi, q, r = 0.9, 0.0015, 0.05
    share = needed(phi, q, r) / 64
    assert limit(phi, q, r / share) <= 0.06 < limit(phi, q, 1.02 * r / share)
    assert inside(limit(phi, q, r / share)) >= 0.9
    assert math.isinf(needed(phi, 0.01, r)) and needed(phi, 1e-6, r) == 64
