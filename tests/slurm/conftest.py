"""One cluster for the folder, and a user of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support.commands import said
from support.slurm_cluster import cluster, demand, missing

from entropostat.slurm.queue import State, queued

PAYLOAD = Path(__file__).with_name("payload.py")
HOSTILE = """it's "a" $(touch OWNED) `touch OWNED` %j; # folder"""


@pytest.fixture(scope="session")
def running():
    demand(missing())
    with cluster() as folder:
        yield folder


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recipe of the test's module, and no Slurm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (tmp_path / "recipe.yaml").write_text(request.module.RECIPE)
    return tmp_path


class User:
    """Submits from a folder with an awkward name, and watches."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        (Path.cwd() / "recipe.yaml").write_text(
            "extends: entropostat:quickstart/plain.yaml\n"
            "name: tiny\n"
            "launch: {strategy: ddp, num_machines: 2}\n"
            f"slurm: {{nodes: 2, gpus_per_node: 0, time: '00:20:00', python: '{PAYLOAD}'}}\n"
        )

    def call(self, *words: str) -> tuple[int, str, str]:
        return said(self.capsys, words)

    def submit(self, *words: str, **payload: Any) -> str:
        """The job's id. ``payload``: what its stand-in for a training does."""
        lines = ", ".join(f"export PAYLOAD_{key.upper()}={value}" for key, value in payload.items())
        code, out, err = self.call("submit", "recipe.yaml", f"slurm.setup=[{lines}]", *words)
        assert code == 0, err
        return re.search(r"^job +(\d+)$", out, re.MULTILINE)[1]

    def states(self, job: str) -> dict[str, State]:
        return {state.job: state for state in queued(job)}

    def until(self, job: str, *wanted: str, seconds: float = 60) -> State:
        """Waits for a state, of the whole job or one task. Fails on another end."""
        end = time.monotonic() + seconds
        while (state := self.states(job)[job]).state not in wanted:
            over = state.state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
            if over or time.monotonic() > end:
                pytest.fail(f"job {job} is {state.state}, not {wanted}:\n{self.log(job)}")
            time.sleep(0.2)
        return state

    def step(self, job: str, step: int, seconds: float = 30) -> None:
        """Waits until the job has done a step."""
        end = time.monotonic() + seconds
        while not any(row["step"] >= step for row in self.rows(job, "metrics")):
            assert time.monotonic() < end, self.log(job)
            time.sleep(0.05)

    def warn(self, job: str) -> None:
        """What Slurm does some time before the limit: USR1 to the batch script alone."""
        subprocess.run(["scancel", "--batch", "--signal=USR1", job], check=True, capture_output=True, timeout=30)

    def again(self, job: str) -> None:
        """Waits until it is queued again, and spares it the two minutes that Slurm lets it wait."""
        self.until(job, "PENDING")
        # In these two minutes the nodes clean up, and their late report of the old start would end a new one.
        end = time.monotonic() + 20
        while subprocess.check_output(["sinfo", "-h", "-t", "completing", "-o", "%D"], timeout=30).strip():
            assert time.monotonic() < end, "the nodes do not get free"
            time.sleep(0.1)
        time.sleep(1)
        self.scontrol("update", f"JobId={job}", "StartTime=now")

    def scontrol(self, *words: str) -> None:
        subprocess.run(["scontrol", *words], check=True, capture_output=True, timeout=30)

    def log(self, job: str) -> str:
        return (Path("runs/slurm") / f"tiny-{job}.log").read_text()

    def rows(self, job: str, name: str, below: str = "") -> list[dict[str, Any]]:
        file = Path("runs") / below / f"tiny-{job}" / f"{name}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def user(running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("SLURM_CONF", str(running / "slurm.conf"))
    here = tmp_path / HOSTILE
    here.mkdir()
    monkeypatch.chdir(here)
    yield User(capsys)
    subprocess.run(["scancel", "--user=root"], check=False, timeout=30)
    assert not list(tmp_path.rglob("OWNED")) and not Path(os.environ["HOME"], "OWNED").exists()
