"""What `entropostat diagnose` says of an entropy that falls or rises, and of the terms that push it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
from support.findings import rules, steady

from entropostat.diagnose import examine


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
