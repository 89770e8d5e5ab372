"""kill -9 in the middle of a step: the controllers go on from the last checkpoint as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from e2e import killed
from support.log_history import step_rows


def rows(trainer: Any) -> list[list[Any]]:
    keys = ("output", "rest", "demand", "i", "share", "smoothed", "error")
    names = ["step", "loss", "entropy", *(f"control/{killed.GAIN}/{key}" for key in keys)]
    return [[row.get(name) for name in names] for row in step_rows(trainer)]


def test_a_loop_is_continuous_through_kill_9(tmp_path: Path) -> None:
    whole = killed.make(tmp_path / "whole")
    whole.train()

    folder = tmp_path / "killed"
    command = [sys.executable, killed.__file__, str(folder), "8"]
    done = subprocess.run(
        command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]

    again = killed.make(folder)
    again.train(resume_from_checkpoint=str(folder / "checkpoint-6"))
    assert again.thermostat.state == whole.thermostat.state
    assert rows(again) == rows(whole) and len(rows(whole)) == 10
    outputs = [row[3] for row in rows(whole)]
    assert len(set(outputs)) == 10, "the loop moves at every step, so a lost or repeated update would show"
