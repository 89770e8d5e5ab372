"""What `entropostat diagnose` says of rewards that are missing, constant, late or wrong."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.findings import PARENT, rules

from entropostat.diagnose import examine
from entropostat.recipe import load


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
