"""The suite of rl/ turns red on every listed fault, and is green without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutation.mutants import ELSEWHERE, MUTANTS, QUICK, ROOT

SURVIVORS = {
    "rloo rewards the lonely": "same function: with one member count * r - total is already exactly 0",
}
"""Fault -> why no test can see it."""


def verdicts(names):
    """One process for all of them; each fault in a forked child."""
    command = [sys.executable, str(Path(__file__).parent / "driver.py"), *names]
    env = os.environ | {"OMP_NUM_THREADS": "1", "ENTROPOSTAT_GOLDEN": ""}
    result = subprocess.run(command, check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout + result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def judge(names):
    judged = verdicts(names)
    assert [v["name"] for v in judged] == list(names)
    invalid = {v["name"]: v["killer"] for v in judged if v["exit"] not in (0, 1)}
    assert not invalid, f"neither killed nor survived: {invalid}"
    survived = {v["name"] for v in judged if v["exit"] == 0}
    print(f"mutation: {len(judged) - len(survived)} of {len(judged)} faults killed")
    return survived


def test_every_fault_still_fits_the_source():
    for mutant in MUTANTS.values():
        compile(mutant.source(), mutant.file, "exec")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks")
def test_a_flipped_sign_a_dropped_mask_and_a_dropped_detach_turn_the_suite_red():
    assert not judge(QUICK)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks")
def test_every_listed_fault_turns_the_suite_red_and_no_fault_leaves_it_green():
    assert judge(["no fault"]) == {"no fault"}
    assert judge([name for name in MUTANTS if name not in ELSEWHERE]) == set(SURVIVORS)
