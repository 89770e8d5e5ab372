"""What `status` makes of Slurm's answers and of a run folder, with commands that answer from a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from entropostat.__main__ import main
from entropostat.slurm.queue import COLUMNS, SEPARATOR, last_step, past, queued


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function: command, what it prints, its exit code."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)

    def answer(command: str, out: str = "", err: str = "", code: int = 0) -> None:
        for name, text in (("out", out), ("err", err)):
            (tmp_path / f"{command}.{name}").write_text(text)
        script = f'#!/bin/sh\necho "$@" >{tmp_path}/{command}.words\ncat {tmp_path}/{command}.out\n'
        (tmp_path / command).write_text(f"{script}cat {tmp_path}/{command}.err >&2\nexit {code}\n")
        (tmp_path / command).chmod(0o755)

    return answer


def line(*values: str) -> str:
    return "".join(value.ljust(width) for value, width in zip(values, COLUMNS.values(), strict=True)) + "\n"


def test_a_running_job_with_its_step(answers, tmp_path: Path, capsys):
    run = tmp_path / "runs" / "a-12_3"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"steps": 320}')
    (run / "metrics.jsonl").write_text('{"step": 1}\n{"step": 41}\n{"st')
    answers(
        "squeue", line("12_3", "RUNNING", "None", "gpu[1-2]", "1:02:03", "2", "0", f"entropostat:{tmp_path}/runs/a")
    )
    assert main(["status", "12"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["job", "state", "reason", "nodes", "elapsed", "restarts", "exit", "step", "run"]
    assert row.split() == ["12_3", "RUNNING", "-", "gpu[1-2]", "1:02:03", "2", "0:0", "41/320", "runs/a-12_3"]
    assert "--jobs=12" in (tmp_path / "squeue.words").read_text()


def test_a_signal_and_an_exit_code_are_told_apart(answers):
    answers(
        "squeue",
        line("1", "FAILED", "x", "n", "0:01", "0", "19200", "") + line("2", "FAILED", "x", "n", "0:01", "0", "9", ""),
    )
    assert [state.exit_code for state in queued("1")] == ["75:0", "0:9"]


def test_other_peoples_jobs_are_left_out_unless_asked_for(answers):
    answers("squeue", line("1", "PENDING", "Priority", "", "0:00", "0", "0", "(null)"))
    assert not queued(None) and queued("1")[0].run is None


def test_the_newest_folder_of_a_run_counts(answers, tmp_path: Path):
    """A restart before the first checkpoint begins a new folder."""
    for time, name in enumerate(("a-1", "a-1-2", "a-12", "a-1-x")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time, time))
    answers("squeue", line("1", "RUNNING", "None", "n", "0:00", "1", "0", f"entropostat:{tmp_path}/a"))
    assert queued("1")[0].run == tmp_path / "a-1-2"


def test_an_ended_job_comes_from_the_accounts(answers, tmp_path: Path, capsys):
    answers("squeue", err="slurm_load_jobs error: Invalid job id specified\n", code=1)
    row = ["7", "CANCELLED by 0", "None", "n1", "00:01:00", "0:15", f"entropostat:{tmp_path}/a|b"]
    answers("sacct", SEPARATOR.join(row) + "\n")
    (state,) = past("7")
    assert (state.state, state.exit_code, state.restarts) == ("CANCELLED by 0", "0:15", "")
    assert main(["status", "7"]) == 0 and "CANCELLED by 0" in capsys.readouterr().out


def test_a_cluster_without_accounts_says_so(answers, capsys):
    answers("squeue", err="slurm_load_jobs error: Invalid job id specified\n", code=1)
    answers("sacct", err="Slurm accounting storage is disabled\n", code=1)
    assert main(["status", "7"]) == 2
    expected = "job 7 is not in the queue, and sacct says: Slurm accounting storage is disabled\n"
    assert capsys.readouterr().err == expected


def test_a_dead_controller_is_one_line(answers, capsys):
    answers("squeue", err="squeue: error: Unable to contact slurm controller\n", code=1)
    assert main(["status"]) == 2
    assert capsys.readouterr().err == "squeue: squeue: error: Unable to contact slurm controller\n"


def test_an_empty_queue(answers, capsys):
    answers("squeue")
    assert main(["status"]) == 1 and "no jobs of `entropostat submit`" in capsys.readouterr().err


def test_the_last_step_of_a_long_file(tmp_path: Path):
    assert last_step(tmp_path) == (None, None)
    rows = "".join(json.dumps({"step": step, "text": "x" * 500}) + "\n" for step in range(1000))
    (tmp_path / "metrics.jsonl").write_text(rows)
    assert last_step(tmp_path) == (999, None)
    (tmp_path / "metrics.jsonl").write_text("nothing yet")
    assert last_step(tmp_path) == (None, None)
