"""How the tracking benchmarks judge a run, and that their committed pages are what their results say."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from benchmarks import ppo, quickstart
from benchmarks.holding import (
    anchor,
    disturbed,
    exact_plant_rows,
    exact_plant_table,
    judging,
    limit,
    policy,
    policy_rows,
    settled,
    slow,
    switch,
)
from benchmarks.holding.loops import aim, autopilot


def recorded(module: Any) -> dict[str, Any]:
    return json.loads(module.RESULTS.read_text())


def run(*probes: float) -> dict[str, Any]:
    return {"probes": list(probes), "pass@1": 0.5, "pass@8": 1.0, "reward": 0.4}


def test_only_probes_from_the_settling_time_on_are_judged():
    judgement = judging.judged(run(9, 9, 1.2, 0.9), 1.0, every=10, settled=20)
    assert judgement["bias"] == pytest.approx(0.05) and judgement["scatter"] == pytest.approx(0.15)
    assert judgement["error"] == pytest.approx((0.04 / 2 + 0.01 / 2) ** 0.5) and judgement["held"] == 0.5
    assert judging.judged(run(9, 9, 1.2, 0.9), 1.0, every=10, settled=30)["bias"] == pytest.approx(-0.1)


def test_a_run_settles_where_its_mean_stays_in_the_band_and_else_never():
    assert judging.judged(run(3, *[1.0] * 16), 1.0, every=10, settled=80)["settling"] == 10
    assert judging.judged(run(*[3.0] * 17), 1.0, every=10, settled=80)["settling"] == 160


def test_a_moving_target_is_the_one_of_the_probe_s_step():
    ramp = policy_rows.TARGETS["decaying"]
    follows = [aim(ramp, step) for step in range(0, 161, 20)]
    assert judging.judged(run(*follows), ramp, every=20)["error"] == pytest.approx(0, abs=1e-12)


def test_a_run_that_failed_counts_as_the_worst():
    row = anchor.columns({"failed": "why"}, 0.02)
    assert row["first"] == row["error"] == judging.FAILED and row["pass@1"] == row["held"] == 0


def test_the_first_half_is_judged_from_the_step_on_at_which_runs_have_fallen():
    steps = range(0, judging.STEPS + 1, judging.EVERY)
    probes = [0.03 if 20 <= step < 80 else 0.02 for step in steps]
    row = anchor.columns(run(*probes), 0.02)
    assert row["first"] == row["first bias"] == pytest.approx(0.5) and row["error"] == pytest.approx(0)


def test_the_setting_nearest_its_target_on_the_tuning_seeds_is_kept():
    error = {0: 1.5, 1: 1.2, 2: 1.4}
    aims, seeds = anchor.TUNED, anchor.TUNING
    tried = {
        f"tune|row|{k}|{name}|{s}": run(*[factor * aim(target, 5 * i) for i in range(33)])
        for k, factor in error.items()
        for name, target in aims.items()
        for s in seeds
    }  # fmt: skip
    assert judging.nearest(tried, lambda _: {"row": [{}] * 3}, aims, seeds) == {"row": 1}
    assert judging.score(tried, "row", 1, aims, seeds) == pytest.approx([math.log(0.2), 0.5])


def test_a_run_meets_the_bars_by_its_error_less_the_noise_of_the_probe_and_by_its_probes():
    good = {"error": 0.065, "held": 0.9}
    assert settled.met(good, 0.03) and not settled.met(good, 0.02)
    assert settled.met({**good, "error": 0.11}, 0.05) and not settled.met({**good, "error": 0.12}, 0.05)
    assert not settled.met({**good, "held": 0.89}, 0.03)


def test_the_frontier_counts_each_probe_once_and_none_before_the_fall():
    late = (judging.STEPS - anchor.FALLEN) // judging.EVERY + 1
    one = {"probes": [0.03] * 33, "pass": [0.9] * 33, "pass@1": 0.9, "pass@8": 1.0, "reward": 0.9}
    runs = {f"report|{row}|decaying|{s}": one for row in policy_rows.grid(0.1) for s in policy_rows.REPORTED}
    lines = anchor.frontier(runs | {"tune|GRPO": one})
    assert f"| 0.025 to 0.035 | {late * len(runs)} | 0.90 | 0.90 | 0.90 |" in lines


def test_recorded_runs_keep_their_gains_whatever_the_defaults_become():
    first = {"kp": 5.0, "ki": 0.2, "smoothing": 0.5, "gain_min": -0.4, "gain_max": 0.4}
    gains = lambda objective: objective["weights"][0]["entropy_tilt"]["gain"]["autopilot"]
    assert gains(autopilot(0.02)).items() >= first.items()
    rows = switch.rows(switch.EASY)
    assert gains(rows["autopilot and anchor by PID"]).items() >= first.items()
    tried = [autopilot(0.02, **o) for o in policy_rows.PILOTS]
    tried += anchor.grid_beside(0.02)[anchor.OURS]
    assert all(gains(one)["gain_min"] == -gains(one)["gain_max"] for one in tried)  # before there was a bound per side
    assert not first.keys() & gains(rows["autopilot with its default gains, and anchor by PID"]).keys()


@pytest.mark.parametrize(
    ("module", "page"),
    [
        (anchor, lambda known: anchor.page(known, recorded(policy_rows))),
        (switch, switch.table),
        (exact_plant_rows, exact_plant_table.table),
        (settled, settled.page),
        (slow, slow.page),
        (limit, limit.page),
        (disturbed, lambda known: disturbed.table(known, policy_rows.chosen(recorded(policy_rows)))),
        (policy_rows, policy.page),
        (ppo, ppo.table),
        (quickstart, quickstart.table),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_the_committed_pages_are_what_the_results_say(module: Any, page: Any) -> None:
    assert page(recorded(module)) == module.RESULTS.with_suffix(".md").read_text()
