"""How the tracking benchmarks judge a run, and that their committed pages are what their results say."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import (
    switch,
    tracking,
    tracking_anchor,
    tracking_disturbed,
    tracking_policy,
    tracking_policy_table,
    tracking_settled,
    tracking_slow,
    tracking_table,
)


def known(module: Any) -> dict[str, Any]:
    return json.loads(module.RESULTS.read_text())


def run(*probes: float) -> dict[str, Any]:
    return {"probes": list(probes), "pass@1": 0.5, "pass@8": 1.0, "reward": 0.4}


def test_only_probes_from_the_settling_time_on_are_judged():
    found = tracking_policy.judged(run(9, 9, 1.2, 0.9), 1.0, every=10, settled=20)
    assert found["bias"] == pytest.approx(0.05) and found["scatter"] == pytest.approx(0.15)
    assert found["error"] == pytest.approx((0.04 / 2 + 0.01 / 2) ** 0.5) and found["held"] == 0.5
    assert tracking_policy.judged(run(9, 9, 1.2, 0.9), 1.0, every=10, settled=30)["bias"] == pytest.approx(-0.1)


def test_a_run_settles_where_its_mean_stays_in_the_band_and_else_never():
    assert tracking_policy.judged(run(3, *[1.0] * 16), 1.0, every=10, settled=80)["settling"] == 10
    assert tracking_policy.judged(run(*[3.0] * 17), 1.0, every=10, settled=80)["settling"] == 160


def test_a_moving_target_is_the_one_of_the_probe_s_step():
    ramp = tracking_policy.TARGETS["decaying"]
    follows = [tracking_policy.aim(ramp, step) for step in range(0, 161, 20)]
    assert tracking_policy.judged(run(*follows), ramp, every=20)["error"] == pytest.approx(0, abs=1e-12)


def test_a_run_that_failed_counts_as_the_worst():
    found = tracking_anchor.columns({"failed": "why"}, 0.02)
    assert found["first"] == found["error"] == tracking_policy.FAILED and found["pass@1"] == found["held"] == 0


def test_the_first_half_is_judged_from_the_step_on_at_which_runs_have_fallen():
    steps = range(0, tracking_policy.STEPS + 1, tracking_policy.EVERY)
    probes = [0.03 if 20 <= step < 80 else 0.02 for step in steps]
    found = tracking_anchor.columns(run(*probes), 0.02)
    assert found["first"] == found["first bias"] == pytest.approx(0.5) and found["error"] == pytest.approx(0)


def test_the_setting_nearest_its_target_on_the_tuning_seeds_is_kept():
    error = {0: 1.5, 1: 1.2, 2: 1.4}
    aims, seeds = tracking_anchor.TUNED, tracking_anchor.TUNING
    tried = {
        f"tune|row|{k}|{name}|{s}": run(*[factor * tracking_policy.aim(target, 5 * i) for i in range(33)])
        for k, factor in error.items()
        for name, target in aims.items()
        for s in seeds
    }  # fmt: skip
    assert tracking_policy.nearest(tried, lambda _: {"row": [{}] * 3}, aims, seeds) == {"row": 1}
    assert tracking_policy.score(tried, "row", 1, aims, seeds) == pytest.approx([math.log(0.2), 0.5])


def test_a_run_meets_the_bars_by_its_error_less_the_noise_of_the_probe_and_by_its_probes():
    good = {"error": 0.065, "held": 0.9}
    assert tracking_settled.met(good, 0.03) and not tracking_settled.met(good, 0.02)
    assert tracking_settled.met({**good, "error": 0.11}, 0.05) and not tracking_settled.met(
        {**good, "error": 0.12}, 0.05
    )
    assert not tracking_settled.met({**good, "held": 0.89}, 0.03)


def test_the_frontier_counts_each_probe_once_and_none_before_the_fall():
    late = (tracking_policy.STEPS - tracking_anchor.FALLEN) // tracking_policy.EVERY + 1
    one = {"probes": [0.03] * 33, "pass": [0.9] * 33, "pass@1": 0.9, "pass@8": 1.0, "reward": 0.9}
    recorded = {
        f"report|{row}|decaying|{s}": one for row in tracking_policy.grid(0.1) for s in tracking_policy.REPORTED
    }
    lines = tracking_anchor.frontier(recorded | {"tune|GRPO": one})
    assert f"| 0.025 to 0.035 | {late * len(recorded)} | 0.90 | 0.90 | 0.90 |" in lines


def test_recorded_runs_keep_their_gains_whatever_the_defaults_become():
    first = {"kp": 5.0, "ki": 0.2, "smoothing": 0.5, "gain_min": -0.4, "gain_max": 0.4}
    gains = lambda objective: objective["weights"][0]["entropy_tilt"]["gain"]["autopilot"]
    assert gains(tracking_policy.autopilot(0.02)).items() >= first.items()
    rows = switch.rows(switch.EASY)
    assert gains(rows["autopilot and anchor by PID"]).items() >= first.items()
    tried = [tracking_policy.autopilot(0.02, **o) for o in tracking_policy.PILOTS]
    tried += tracking_anchor.grid_beside(0.02)[tracking_anchor.OURS]
    assert all(gains(one)["gain_min"] == -gains(one)["gain_max"] for one in tried)  # before there was a bound per side
    assert not first.keys() & gains(rows["autopilot with its default gains, and anchor by PID"]).keys()


def test_the_committed_pages_are_what_the_results_say(tmp_path: Path):
    best, plant = tracking_policy.chosen(known(tracking_policy)), known(tracking)
    written = {
        tracking_anchor: tracking_anchor.page(known(tracking_anchor), known(tracking_policy)),
        switch: switch.table(known(switch)),
        tracking: tracking_table.table(plant, {row: tracking.choose(row, plant) for row in tracking.GRID}),
        tracking_settled: tracking_settled.page(known(tracking_settled)),
        tracking_slow: tracking_slow.page(known(tracking_slow)),
        tracking_disturbed: tracking_disturbed.table(known(tracking_disturbed), best),
    }
    tracking_policy_table.write(known(tracking_policy), tmp_path / "page.json")
    written[tracking_policy] = (tmp_path / "page.md").read_text()
    for module, text in written.items():
        assert text == module.RESULTS.with_suffix(".md").read_text(), module.__name__
