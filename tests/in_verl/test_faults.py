"""A changed normaliser, a dropped mask, a generation seen in part: each turns the tests of this folder red."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys

import pytest
from mutation.mutants import ROOT

SURVIVORS: frozenset[str] = frozenset()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks")
def test_every_fault_turns_the_suite_red() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "in_verl.faults"],
        cwd=ROOT / "tests",
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    judged = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(judged) > 15
    assert {one["name"] for one in judged if one["exit"] not in (0, 1)} == set(), judged
    assert {one["name"] for one in judged if one["exit"] == 0} == SURVIVORS


def test_each_fault_is_code() -> None:
    from in_verl.faults import FAULTS

    for mutant in FAULTS.values():
        ast.parse(mutant.source())
