"""kill -9 at any instant: every resume succeeds, nothing is lost beyond the last checkpoint, and the end is bit for bit the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e import crash


@pytest.mark.parametrize(("kills", "seed"), [(5, 4), pytest.param(50, 1, marks=pytest.mark.slow)])
def test_killed_at_random_instants_a_run_ends_as_if_nothing_had_happened(tmp_path: Path, kills: int, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", crash.__file__, str(tmp_path), str(kills), str(seed)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True, check=False, text=True, timeout=580,
    )  # fmt: skip
    print(done.stdout)  # the figures
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["kills"] == report["resumes"] == kills and report["most_repeated"] <= 2 * crash.SAVE_EVERY
    assert report["damaged"]
    assert {hit["plan"]["kind"] for hit in report["hits"]} == set(crash.KINDS)
    assert {"rollout", "backward", "save"} <= report["by_phase"].keys()
