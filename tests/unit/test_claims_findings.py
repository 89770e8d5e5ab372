"""What was seen in some runs is put to the test on others."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.claims import __main__ as command
from benchmarks.claims import choosing, findings, methods, recommend
from benchmarks.claims.cell import PLAIN
from benchmarks.claims.measures import COLUMNS
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import SEEDS, TASKS, TUNING

ONE = findings.Finding("It does.", "seen", "hard", "final", "kl_cov", PLAIN, 0.1)


def run(final: float) -> dict[str, Any]:
    look = {"pass@1": 0.3, "pass@8": 0.6, "distinct": 0.2, "working": 0.4, "entropy": 0.4, "length": 8.0}
    made = {"status": "done", "looks": {"0": look, "40": look | {"pass@1": final}}, "reward": 0.5, "findings": []}
    return made | {"cpu": 0.1, "memory": 1.0, "samples": 2560}


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([0.2, 0.21] * 4, "stands"),
        ([0.05, 0.06] * 4, "falls"),
        ([-0.2, -0.21] * 4, "falls"),
        ([0.5, -0.3] * 4, "undecided"),
        ([0.2, 0.21] * 3, "not run yet"),
    ],
)
def test_a_finding_stands_by_its_interval_and_its_least_effect(gains, said, tmp_path, monkeypatch):
    store = Store(tmp_path)
    for seed, gain in zip(findings.FRESH, gains, strict=False):
        store.put(f"finding|hard|kl_cov|0|{seed}", run(0.4 + gain))
        store.put(f"finding|hard|{PLAIN}|0|{seed}", run(0.4))
    assert findings.judged(ONE, findings.effect(ONE, store)) == said
    monkeypatch.setattr(findings, "findings", lambda: (ONE,))
    assert (ONE.says in "".join(choosing.stood(store))) == (said == "stands")


def test_it_is_tested_on_seeds_that_nothing_else_has():
    others = {*SEEDS, *TUNING, *(seed for one in recommend.ROUNDS for seeds in one.seeds.values() for seed in seeds)}
    assert not others & set(findings.FRESH)


def test_every_finding_is_about_rows_and_a_metric_that_there_are():
    rows = {*methods.table(), *recommend.candidates()}
    for one in findings.findings():
        assert {one.more, one.less} <= rows and one.task in TASKS and one.at_least > 0, one
        assert one.metric in COLUMNS, one


def test_a_night_has_every_stage():
    assert set(command.NIGHT) == set(command.STAGES)
