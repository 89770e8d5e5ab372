"""What `entropostat diagnose` finds on synthetic runs, and what it leaves alone. Rates are the benchmark's; these are its seeds' cousins."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.diagnose.healthy import healthy
from benchmarks.diagnose.measure import lower, upper
from benchmarks.diagnose.pathologies import PATHOLOGIES, ill
from benchmarks.diagnose.ranges import CELLS, Range, seed_of
from benchmarks.diagnose.shapes import noise
from benchmarks.diagnose.world import Synthetic
from entropostat.compare.table import Run
from entropostat.diagnose import Finding, Log, examine
from entropostat.diagnose.live import Live
from entropostat.recipe import load

TRIAL = 1000
"""Seeds of no verdict."""
PARENT = """
extends: entropostat:base/quickstart.yaml
name: parent
objective:
  loss: {unclipped: {}}
  weights:
    - clip_cov: {}
    - entropy_tilt: {gain: {pid: {signal: entropy_old, target: .3, effect: lowers, low: -1, high: 1, ki: .1}}}
  penalties:
    - kl_cov: {}
    - entropy_bonus: {coef: {pid: {signal: entropy, target: .3, low: -1, high: 1, kp: .3, ki: .1}}}
    - kl_ref: {coef: {pid: {signal: kl, target: .1, effect: lowers, low: -1, high: 1, ki: .1}}}
"""


@cache
def sick(kind: str) -> Synthetic:
    return ill(kind, "verdict", 0, TRIAL)


def rules(run: object) -> Counter[str]:
    return Counter(one.rule for one in examine(run))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", PATHOLOGIES)
def test_each_pathology_is_found_in_time_and_with_a_change_that_loads(kind, tmp_path):
    run = sick(kind)
    (tmp_path / "parent.yaml").write_text(PARENT)
    parent = load(tmp_path / "parent.yaml")
    known = SimpleNamespace(rows=run.rows, vocabulary=run.vocabulary, terms=[term.name for _, term in parent.terms])
    mine = [one for one in examine(known) if one.rule == kind]
    assert mine, "not found"
    one = mine[0]
    assert run.well_until < one.steps[0] <= run.deadline
    assert one.evidence and one.cause and one.severity in ("info", "warning", "critical")
    (tmp_path / "child.yaml").write_text("extends: parent.yaml\n" + one.advice)
    child = load(tmp_path / "child.yaml")
    assert replace(child, name="") != replace(parent, name=""), "a change that changes nothing"


def test_healthy_runs_are_left_alone():
    alarms = {
        (length, i): raised
        for length in (200, 1000)
        for i in range(30)
        if (raised := rules(healthy("verdict", length, i, TRIAL)))
    }
    assert not alarms


def test_what_is_said_of_a_whole_log_was_said_while_it_was_written():
    for kind in PATHOLOGIES:
        run = sick(kind)
        (first,) = {min(one.steps[0] for one in examine(run) if one.rule == kind)}
        for until, expected in ((first - 1, 0), (first, 1)):
            rows = [row for row in run.rows if row["step"] <= until]
            assert (rules(SimpleNamespace(rows=rows, vocabulary=run.vocabulary))[kind] > 0) == expected, (kind, until)


def steady(count: int = 120, **more: float) -> list[dict[str, float]]:
    return [{"step": i + 1, "entropy": 0.5, "reward": 0.5, "loss": 0.1, **more} for i in range(count)]


def falling(pass_at_k: float) -> SimpleNamespace:
    """Entropy to a hundredth from step 60 on; held-out pass@8 from .5 to ``pass_at_k``."""
    rows = steady()
    for row in rows[60:]:
        row["entropy"] = 0.005
    for step in range(0, 121, 10):
        level = 0.5 if step < 60 else pass_at_k
        rows.append({"step": step, "evaluate/held/pass@1": 0.3, "evaluate/held/pass@8": level})
    return SimpleNamespace(rows=sorted(rows, key=lambda row: row["step"]), vocabulary=1000)


def test_low_entropy_is_collapse_where_pass_at_k_falls_and_convergence_where_it_rises():
    assert rules(falling(0.3)) == {"collapse": 1}
    assert rules(falling(0.7)) == {}


def test_a_fall_that_begins_with_the_first_step_is_measured_from_there():
    """To 7 % of the first rows, which is 11 % of the mean of the first eight."""
    run = falling(0.1)
    values = np.concatenate([0.4 * 0.85 ** np.arange(11), np.full(len(run.rows) - 11, 0.028)])
    for row, value in zip(run.rows, values, strict=True):
        row["entropy"] = float(value)
    assert rules(run)["collapse"] == 1


def test_the_same_rise_of_entropy_is_an_explosion_or_not_by_ln_v():
    rows = steady()
    for row in rows[60:]:
        row |= {"entropy": 2.0, "reward": 0.3}
    assert rules(SimpleNamespace(rows=rows, vocabulary=1000))["explosion"] == 1
    for row in rows:
        row["entropy"] *= 0.5
    for row in rows[60:]:
        row["entropy"] = 0.5
    assert rules(SimpleNamespace(rows=rows, vocabulary=150_000))["explosion"] == 0


def test_an_explosion_from_the_first_step_on_is_found():
    rows = steady(80)
    for i, row in enumerate(rows):
        row |= {"entropy": 0.4 + 2.3 * (1 - math.exp(-i / 12)), "reward": 0.3 * math.exp(-i / 15)}
    assert rules(SimpleNamespace(rows=rows, vocabulary=16))["explosion"] == 1


def test_the_cause_is_the_term_that_pushed_that_way():
    run = falling(0.3)
    for row in run.rows:
        if "loss" in row:
            row |= {"forces/loss/entropy": -0.01, "forces/kl_ref/entropy": 0.004, "forces/loss/share": 0.8}
    (one,) = examine(run)
    assert one.cause.startswith("loss pushed entropy down: -0.3") and "kl_ref +0.12" in one.cause and "80%" in one.cause


def test_a_term_at_rest_is_not_inert_and_one_without_effect_is():
    asleep = steady(**{"forces/entropy_bonus/share": 0.0})
    assert rules(SimpleNamespace(rows=asleep)) == {"inert-term": 1}
    resting = steady(**{"forces/entropy_bonus/share": 0.0, "control/penalties.entropy_bonus.coef/output": 0.0})
    assert rules(SimpleNamespace(rows=resting)) == {}


def test_what_a_term_logs_itself_is_enough_where_its_force_is_seldom_measured_unless_that_says_that_it_acts():
    def rows(share: float) -> SimpleNamespace:
        seldom = [{"forces/kl_cov/share": share} if i % 5 == 0 else {} for i in range(80)]
        return SimpleNamespace(
            rows=[row | {"kl_cov/distance": 0.0} | more for row, more in zip(steady(80), seldom, strict=True)]
        )

    (finding,) = [one for one in examine(rows(0.0)) if one.rule == "inert-term"]
    assert finding.steps == (50, 80) and "kl_cov/distance" in finding.evidence
    assert not rules(rows(0.2))["inert-term"]


def test_single_bad_steps_of_a_long_run_must_come_closer_than_those_of_a_short_one():
    def broken(begin: int, count: int, gap: int = 2) -> SimpleNamespace:
        bad = range(begin, begin + count * gap, gap)
        return SimpleNamespace(
            rows=[row | ({"loss": math.nan} if i in bad else {}) for i, row in enumerate(steady(1300))]
        )

    assert rules(broken(500, 4, gap=4))["non-finite"] and not rules(broken(500, 4, gap=5))["non-finite"]
    assert rules(broken(500, 5))["non-finite"] and not rules(broken(1100, 5))["non-finite"]
    (finding,) = [one for one in examine(broken(1100, 10)) if one.rule == "non-finite"]
    assert finding.steps[0] == 1101 + 2 * 7  # the eighth


def test_the_more_evaluations_there_were_the_longer_a_gap_must_last():
    def dipped(begin: int, count: int) -> SimpleNamespace:
        rows = [row | {"reward": 0.3 if row["step"] <= 50 else 0.6} for row in steady(520)]
        for k in range(53):
            right = 0.2 if begin <= k < begin + count else 0.5
            rows.append({"step": 10 * k, "evaluate/held/pass@1": right, "evaluate/held/pass@8": 0.8})
        return SimpleNamespace(rows=sorted(rows, key=lambda row: row["step"]))

    assert rules(dipped(25, 1))["reward-gap"] and rules(dipped(45, 2))["reward-gap"]
    assert not rules(dipped(45, 1))["reward-gap"]


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


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"step": 1}],
        steady(3),
        [{"step": i, "entropy": None, "reward": None} for i in range(2)],
        [{"step": i, "entropy": 0.0, "reward": 0.0, "kl": math.inf} for i in range(2)],
        [{"entropy": 1.0}, {"step": "x"}, {"step": 2, "entropy": "high"}],
        [{"step": i, "train/entropy": 0.5, "train/reward": 0.2} for i in range(60)],
        [{"step": 5, "entropy": 0.5, "control/a/saturated": 1.0, "evaluate/x/share/y": 0.5}] * 100,
    ],
)
def test_odd_logs_are_no_reason_to_fail(rows):
    assert examine(SimpleNamespace(rows=rows)) == []


def test_a_null_is_not_a_gap():
    rows = steady()
    for row in rows[50:90:2]:
        row["loss"] = None
    assert rules(SimpleNamespace(rows=rows)) == {"non-finite": 1}
    for row in rows[50:90:2]:
        del row["loss"]
    assert rules(SimpleNamespace(rows=rows)) == {}


def test_live_tells_each_finding_once_and_soon():
    run, live, told = sick("controller-saturated"), Live(), []
    for row in run.rows:
        told += [(row["step"], one) for one in live.add(row)]
    told += [(run.rows[-1]["step"], one) for one in live.look()]
    mine = [(step, one) for step, one in told if one.rule == "controller-saturated"]
    assert len(mine) == 1
    step, one = mine[0]
    assert step - one.steps[0] <= 10


def test_the_report_s_run_can_be_examined(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sick("collapse").rows))
    findings = examine(Run.read(tmp_path))
    assert {one.rule for one in findings} >= {"collapse"}
    assert isinstance(findings[0], Finding) and json.dumps(findings[0].as_dict())
    assert isinstance(Log.of(Run.read(tmp_path)), Log)


def test_tuning_and_verdict_never_draw_the_same_values():
    source = Range(0.0, CELLS)
    cells = {
        split: {int(source.draw(seed_of(split, "x", i), split)) for i in range(200)} for split in ("tuning", "verdict")
    }
    assert cells == {"tuning": {1, 3, 5, 7}, "verdict": {0, 2, 4, 6, 8}}


def test_bounds_of_the_protocol():
    assert lower(196, 200) >= 0.95 > lower(195, 200)
    assert upper(4, 1000) <= 0.01 < upper(5, 1000)


def empty(step):
    return {"step": step, "loss": 0.0, "entropy": None, "kl": None, "health/trained_tokens": 0.0}


def test_steps_without_a_token_are_told_as_such_and_are_no_overflow():
    rows = [{"step": i, "loss": 0.1, "entropy": 0.5, "kl": 0.0, "health/trained_tokens": 80.0} for i in range(60)]
    for i in (20, 21, 22, 23, 24):
        rows[i] = empty(i)
    (one,) = examine(RunOf(rows))
    assert one.rule == "nothing-trained" and one.steps == (20, 24) and "5 of 60 logged steps" in one.evidence
    for i in (21, 23):
        rows[i] = {"step": i, "loss": 0.1, "entropy": 0.5, "health/trained_tokens": 80.0}
    assert examine(RunOf(rows)) == []
    for i in range(0, 60, 2):
        rows[i] = empty(i)
    assert [one.rule for one in examine(RunOf(rows))] == ["nothing-trained"]


class RunOf:
    def __init__(self, rows):
        self.rows = rows


def rewarded(count: int, every: int = 1, **more: object) -> SimpleNamespace:
    """A run whose generations come every ``every`` steps; a value that is callable is asked at each step."""
    rows = [{"step": i, "entropy": 0.5, "loss": 0.0, "grad_norm": 0.0} for i in range(1, count + 1)]
    base = {
        "reward": 0.5,
        "reward_std": 0.2,
        "rewards/mine/mean": 0.5,
        "verifier/mine/errors": 0.0,
        "frac_reward_zero_std": 0.1,
    }
    for row in rows[::every]:
        row |= {key: value(row["step"]) if callable(value) else value for key, value in {**base, **more}.items()}
    return SimpleNamespace(rows=rows, vocabulary=1000)


NOTHING = {"reward": None, "reward_std": None, "rewards/mine/mean": None, "frac_reward_zero_std": 0.0}


def test_rewards_that_are_always_none_are_found_and_are_no_overflow():
    (finding,) = examine(rewarded(20, every=4, **NOTHING))
    assert (finding.rule, finding.severity, finding.steps) == ("reward-missing", "critical", (13, 17))
    assert "mine returned None" in finding.cause
    (finding,) = examine(rewarded(20, every=4, **NOTHING, **{"verifier/mine/errors": 32.0}))
    assert finding.rule == "reward-missing" and "mine failed" in finding.cause


def test_rewards_that_cease_are_found():
    ceased = {key: lambda step, value=value, key=key: value if step > 60 else 0.5 for key, value in NOTHING.items()}
    assert rules(rewarded(80, **ceased)) == {"reward-missing": 1}
    single = {key: lambda step, value=value: value if step % 10 == 0 else 0.5 for key, value in NOTHING.items()}
    assert rules(rewarded(80, **single))["reward-missing"] == 0


def test_one_verifier_that_never_speaks_is_a_note_and_one_that_begins_late_is_none():
    silent = rewarded(40, **{"rewards/other/mean": None})
    (finding,) = examine(silent)
    assert (finding.rule, finding.severity, finding.subject) == ("reward-missing", "info", "other")
    assert rules(rewarded(80, **{"rewards/other/mean": lambda step: None if step < 20 else 0.5})) == {}
    assert rules(rewarded(80, **{"rewards/other/mean": lambda step: 0.5 if step < 20 else None})) == {}


def test_what_is_said_of_rewards_is_not_taken_back():
    late = {"rewards/other/mean": lambda step: None if step < 40 else 0.5}
    same = {"reward": lambda step: 0.0 if step < 40 else 0.4, "reward_std": lambda step: 0.0 if step < 40 else 0.3}
    for more, rule in ((late, "reward-missing"), (same, "constant-reward")):
        until = [rules(rewarded(count, **more)) for count in (10, 30, 80)]
        assert until == [{}, {rule: 1}, {rule: 1}]


@pytest.mark.parametrize(("share", "severity"), [(0.05, None), (0.3, "warning"), (1.0, "critical")])
def test_a_verifier_that_fails_is_found_by_its_share(share, severity):
    findings = [
        one for one in examine(rewarded(40, **{"verifier/mine/failed": share, "verifier/mine/errors": 32 * share}))
    ]
    assert [(one.rule, one.severity) for one in findings] == (
        [] if severity is None else [("verifier-failing", severity)]
    )


def test_a_slow_verifier_is_given_time(tmp_path):
    late = {"verifier/mine/failed": 0.5, "verifier/mine/timeouts": 16.0}
    (finding,) = examine(rewarded(40, **late))
    assert "took too long" in finding.evidence
    (tmp_path / "parent.yaml").write_text(PARENT + "reward: [chain: {name: mine}]\n")
    (tmp_path / "child.yaml").write_text("extends: parent.yaml\n" + finding.advice)
    assert load(tmp_path / "child.yaml").reward[0].options["timeout"] == 60


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_reward_that_was_never_but_one_number_is_found_once(value, tmp_path):
    same = {"reward": value, "reward_std": 0.0, "rewards/mine/mean": value, "frac_reward_zero_std": 1.0}
    (finding,) = examine(rewarded(48, every=4, **same))
    assert (finding.rule, finding.steps) == ("constant-reward", (45, 45)) and f"{value:g}" in finding.evidence
    assert not examine(rewarded(44, every=4, **same))
    (tmp_path / "parent.yaml").write_text(PARENT)
    (tmp_path / "child.yaml").write_text("extends: parent.yaml\n" + finding.advice)
    assert load(tmp_path / "child.yaml") != load(tmp_path / "parent.yaml")


def test_a_run_that_has_come_to_solve_everything_is_not_called_constant():
    solved = {"reward": lambda step: min(step / 40, 1.0), "reward_std": lambda step: 0.3 if step < 40 else 0.0}
    assert "constant-reward" not in rules(rewarded(200, **solved))
    steps = {"reward": lambda step: step % 3 / 4, "reward_std": 0.0, "frac_reward_zero_std": 1.0}
    assert rules(rewarded(100, **steps)) == {"dead-groups": 1}
    first = {"reward": lambda step: 0.9 if step == 1 else 1.0, "reward_std": lambda step: 0.1 if step == 1 else 0.0}
    assert "constant-reward" not in rules(rewarded(200, **first))


def test_a_verifier_that_is_always_right_beside_one_that_is_not_is_healthy():
    assert rules(rewarded(100, **{"rewards/format/mean": 1.0, "rewards/format/std": 0.0})) == {}


def test_rows_that_come_out_of_order_are_read_by_step_and_those_of_one_step_as_they_came():
    log = Log()
    for step, value in ((1, 0.1), (5, 0.5), (3, 0.3), (5, 0.6), (2, 0.2)):
        log.add({"step": step, "entropy": value})
    series = log.series("entropy")
    assert series.steps.tolist() == [1, 2, 3, 5, 5] and series.values.tolist() == [0.1, 0.2, 0.3, 0.5, 0.6]
