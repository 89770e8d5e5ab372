"""Reward crashes, drawdown and tails on series made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entropostat.rl.diagnostics.crash import WARMUP, Behaviour, Crash, behaviour, crashes, drawdown, quantile

few = settings(max_examples=50, deadline=None, derandomize=True)
finite = st.floats(-1e6, 1e6)
CALM = [1.0, 1.1] * 10


def test_a_fall_that_is_deep_for_the_run_is_one_crash_until_the_reward_is_back():
    assert crashes([*CALM, 0.1, 0.2, 0.5, *CALM]) == [Crash(20, 23)]
    assert crashes([*CALM, 0.1, *CALM, 0.2, 0.3, *CALM]) == [Crash(20, 21), Crash(41, 43)]


def test_a_reward_that_stays_down_stays_in_its_crash_to_the_end():
    assert crashes([*CALM, *[0.1] * 400]) == [Crash(20, 420)]


def test_half_a_recovery_is_none():
    assert crashes([*CALM, 0.1, 0.9, 0.9, 0.1]) == [Crash(20, 24)]


def test_a_calm_run_may_dip_by_a_fifth_and_a_noisy_one_by_three_deviations():
    assert crashes([*[1.0] * 20, 0.81]) == []
    assert crashes([*[1.0] * 20, 0.79]) == [Crash(20, 21)]
    noisy = [1.0, 2.0] * 20  # mean 1.5, mean deviation 0.5
    assert crashes([*noisy, 0.1]) == []
    assert crashes([*noisy, -0.2]) == [Crash(40, 41)]


def test_around_zero_the_deviation_alone_counts_and_a_negative_reward_is_no_crash():
    assert crashes([-1.0, 1.0] * 20) == []
    assert crashes([*[-1.0, -1.1] * 20, -3.0]) == [Crash(40, 41)]
    assert crashes([*[-1.0, -1.1] * 20, 3.0]) == []
    assert crashes([*[-1.0] * 20, -1.1]) == []


def test_nothing_crashes_while_the_run_warms_up_or_slowly_declines():
    assert crashes([1.0, *[0.0] * (WARMUP - 1)]) == []
    assert crashes([1.0 - 0.002 * t for t in range(300)]) == []


def test_the_drawdown_is_what_the_average_lost_against_its_best():
    assert drawdown([0.1 * t for t in range(50)]) == 0.0
    assert drawdown([1.0] * 30) == 0.0
    falls = [1.0] * 20 + [0.0] * 2
    assert drawdown(falls) == pytest.approx(1 - 0.95**2)
    assert drawdown([*falls, *[5.0] * 20]) == pytest.approx(1 - 0.95**2)  # what comes later takes nothing back
    assert drawdown([0.0] * 20 + [1.0] * 200 + [0.0] * 500) == pytest.approx(1.0, abs=1e-4)


def test_the_table_of_a_run_by_hand():
    table = behaviour([*CALM, 0.1, 0.2, *CALM[:18]], [0.1 * t for t in range(21)])
    assert table == Behaviour(
        crashes=1,
        crash_share=2 / 40,
        drawdown=pytest.approx(drawdown([*CALM, 0.1, 0.2, *CALM[:18]])),
        average_reward=pytest.approx((19 * 2.1 + 0.3) / 40),
        final_reward=pytest.approx(1.05),
        kl_mean=pytest.approx(1.0),
        kl_p95=pytest.approx(1.9),
        kl_max=pytest.approx(2.0),
    )


def test_what_was_not_measured_is_left_out_and_an_empty_run_is_all_zero():
    assert behaviour([math.nan, *CALM, math.inf], [math.nan]) == behaviour(CALM, [])
    assert set(vars(behaviour([], [])).values()) == {0}


@few
@given(values=st.lists(finite, min_size=1, max_size=60))
def test_any_series_gives_finite_numbers_within_its_bounds(values):
    table = behaviour(values, [abs(x) for x in values])
    assert all(math.isfinite(x) for x in vars(table).values())
    assert 0 <= table.crash_share <= 1 and table.crashes == len(crashes(values))
    assert 0 <= table.drawdown <= max(values) - min(values) + 1e-6
    assert table.kl_p95 <= table.kl_max
    edges = [edge for crash in crashes(values) for edge in (crash.start, crash.end)]
    assert edges == sorted(edges) and all(edge <= len(values) for edge in edges)


@few
@given(values=st.lists(finite, min_size=1, max_size=30), q=st.floats(0, 1))
def test_quantiles_agree_with_torch(values, q):
    want = torch.quantile(torch.tensor(values, dtype=torch.float64), q).item()
    assert quantile(values, q) == pytest.approx(want, rel=1e-9, abs=1e-6)
