"""What `entropostat diagnose` finds on synthetic runs, and what it leaves alone. Rates are the benchmark's; these are its seeds' cousins."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import pytest
from support.findings import PARENT, rules, steady

from benchmarks.diagnose.healthy import healthy
from benchmarks.diagnose.measure import lower, upper
from benchmarks.diagnose.pathologies import PATHOLOGIES, ill
from benchmarks.diagnose.ranges import CELLS, Range, seed_of
from benchmarks.diagnose.world import Synthetic
from entropostat.compare.table import Run
from entropostat.diagnose import Finding, Log, examine
from entropostat.diagnose.live import Live
from entropostat.recipe import load

TRIAL = 1000
"""Seeds of no verdict."""


@cache
def sick(kind: str) -> Synthetic:
    return ill(kind, "verdict", 0, TRIAL)


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


def test_rows_that_come_out_of_order_are_read_by_step_and_those_of_one_step_as_they_came():
    log = Log()
    for step, value in ((1, 0.1), (5, 0.5), (3, 0.3), (5, 0.6), (2, 0.2)):
        log.add({"step": step, "entropy": value})
    series = log.series("entropy")
    assert series.steps.tolist() == [1, 2, 3, 5, 5] and series.values.tolist() == [0.1, 0.2, 0.3, 0.5, 0.6]
