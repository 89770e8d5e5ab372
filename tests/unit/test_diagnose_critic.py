"""What `entropostat diagnose` must not say of a run with a critic."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.diagnose.pathologies import ill
from entropostat.diagnose import examine


def test_groups_without_spread_are_no_fault_beside_a_critic() -> None:
    run = ill("dead-groups", "verdict", 0, 1000)
    rules = lambda subject: {one.rule for one in examine(subject)}
    assert "dead-groups" in rules(run)
    assert "dead-groups" not in rules(replace(run, rows=[row | {"critic/value": 0.0} for row in run.rows]))
