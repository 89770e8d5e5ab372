"""What `entropostat diagnose` says of loops that swing or stand at a bound."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from support.findings import rules, steady

from benchmarks.diagnose.healthy import healthy
from benchmarks.diagnose.shapes import noise
from entropostat.diagnose import examine


def test_a_loop_at_its_bound_is_ill_only_off_its_target():
    for signal, expected in ((0.5, {}), (0.3, {"controller-saturated": 1})):
        loop = {"target": 0.5, "signal": signal, "smoothed": signal, "saturated": 1.0, "output": 0.02}
        rows = steady(**{f"control/penalties.entropy_bonus.coef/{key}": value for key, value in loop.items()})
        assert rules(SimpleNamespace(rows=rows)) == expected


@pytest.mark.parametrize("period", [4.0, 4.5, 11.3, 23.0])
def test_a_swing_is_found_whatever_its_period_and_red_noise_is_not(period):
    rng = np.random.default_rng(0)
    phase = 2 * np.pi * np.arange(120) / period
    drift = noise(120, 0.9, rng, "verdict", tails=True)
    for signal, output, expected in (
        (1 + 0.4 * np.sign(np.sin(phase + 0.1)), np.sign(np.cos(phase + 0.1)), 1),
        (1 + 0.3 * drift, 0.5 - 0.3 * drift, 0),
    ):
        rows = steady()
        for row, value, out in zip(rows, signal + 0.05 * rng.standard_normal(120), output, strict=True):
            loop = {"target": 1.0, "signal": value, "smoothed": value, "output": out}
            row |= {f"control/penalties.entropy_bonus.coef/{key}": float(v) for key, v in loop.items()}
        assert rules(SimpleNamespace(rows=rows))["controller-oscillating"] == expected


def thrown(size: float, stay: int, ways: int = 8) -> SimpleNamespace:
    """A loop that is thrown from bound to bound in its own time, ``stay`` rows at each."""
    draw, output = np.random.default_rng(5), []
    for k in range(ways):
        output += [0.5] * int(draw.integers(2, 12)) + [float(k % 2)] * stay
    output, rows = ([0.5] * 80 + output)[-160:], []
    for i, u in enumerate(output):
        signal = 0.5 * (1 + size * (1 - 2 * u))
        loop = {"output": u, "target": 0.5, "signal": signal, "smoothed": signal, "saturated": float(u in (0.0, 1.0))}
        rows.append({"step": i + 1, **{f"control/penalties.entropy_bonus.coef/{k}": v for k, v in loop.items()}})
    return SimpleNamespace(rows=rows)


def test_a_loop_that_is_thrown_from_bound_to_bound_is_found_without_a_period():
    findings = [one for one in examine(thrown(0.8, 6)) if one.rule == "controller-oscillating"]
    assert len(findings) == 1 and "from bound to bound" in findings[0].evidence
    for quiet in (
        thrown(0.3, 6),
        thrown(0.99, 1, ways=20),
        thrown(0.99, 9, ways=4),
    ):  # by little, for a row, or hardly ever
        assert not rules(quiet)["controller-oscillating"]


@pytest.mark.parametrize("index", [132488, 133599])
def test_red_noise_of_a_healthy_loop_that_looks_like_a_swing_until_it_is_whitened(index):
    assert not rules(healthy("tuning", 1000, index))["controller-oscillating"]
