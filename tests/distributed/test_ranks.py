"""The test set-up of this folder: real engines for every strategy, and nothing that hangs outlives its time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from support import ranks
from support.processes import alive

HANGS = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "300"])
open(f"{sys.argv[1]}/{os.environ.get('RANK', 'x')}", "w").write(f"{os.getpid()} {child.pid}")
if len(sys.argv) > 2 and os.environ["RANK"] == "1":
    time.sleep(0.5)
    raise RuntimeError("rank 1 is broken")
time.sleep(300)
"""


def left(folder: Path) -> list[int]:
    """Processes of the hanging script that still run, after a moment to die in."""
    pids = [int(word) for file in folder.iterdir() for word in file.read_text().split()]
    assert pids
    end = time.monotonic() + 5
    while (running := [pid for pid in pids if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    return running


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "hangs.py"
    file.write_text(HANGS)
    (tmp_path / "pids").mkdir()
    return file


def test_ranks_that_hang_are_killed_with_what_they_started(script: Path) -> None:
    pids = script.with_name("pids")
    with pytest.raises(pytest.fail.Exception, match=r"2 rank\(s\) of hangs.py were killed after 2 s"):
        ranks.run(script, pids, world=2, seconds=2)
    assert len(list(pids.iterdir())) == 2 and not left(pids)


def test_a_rank_that_fails_ends_the_others_and_is_shown(script: Path) -> None:
    pids, start = script.with_name("pids"), time.monotonic()
    with pytest.raises(pytest.fail.Exception, match=r"(?s)ended with 1.*rank1.log:.*rank 1 is broken"):
        ranks.run(script, pids, "fail", world=2, seconds=100)
    assert time.monotonic() - start < 60 and not left(pids)


def test_a_command_that_hangs_is_killed_with_what_it_started(script: Path) -> None:
    pids = script.with_name("pids")
    code, _ = ranks.ended(sys.executable, script, pids, seconds=2)
    assert code is None and not left(pids)
    assert ranks.ended(sys.executable, "-c", "raise SystemExit(3)")[0] == 3
    with pytest.raises(pytest.fail.Exception, match="ended with 3"):
        ranks.command(sys.executable, "-c", "raise SystemExit(3)")
