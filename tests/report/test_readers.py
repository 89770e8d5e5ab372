"""Runs from trackers' files, and files that a kill left behind."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support.synthetic_runs import write_run

from entropostat.readers import read, read_all
from entropostat.readers.tracked import as_logged
from entropostat.report.record import records

LOG = """
import sys, {module} as tracker
for name in ("first", "second"):
    run = tracker.init(project="trial", name=name, {options})
    for step in range(1, 6):
        tracker.log({{"train/entropy": 1 / step, "train/evaluate/easy/pass@1": 0.5, "train/global_step": step, "train/bad": float("nan")}})
        tracker.log({{"profiling/time": 0.25}})
    tracker.finish()
"""


def logged_by(module: str, folder: Path, options: str = "") -> None:
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRACKIO_DIR": str(folder),
        "WANDB_DIR": str(folder),
        "WANDB_MODE": "offline",
    }
    words = [sys.executable, "-c", LOG.format(module=module, options=options)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def check_first(run) -> None:
    """Keys as in metrics.jsonl, steps of the optimizer, whatever else the tracker counts."""
    assert run.series("entropy") == ([1, 2, 3, 4, 5], [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert run.series("evaluate/easy/pass@1") == ([1, 2, 3, 4, 5], [0.5] * 5)
    assert run.series("profiling/time")[0] == [1, 2, 3, 4, 5]
    assert run.series("bad") == ([], [])


def test_a_database_of_trackio_gives_its_runs(tmp_path: Path) -> None:
    logged_by("trackio", tmp_path)
    runs = read_all(tmp_path / "trial.db")
    assert [run.name for run in runs] == ["first", "second"]
    check_first(runs[0])
    with pytest.raises(ValueError, match=r"trial\.db: 2 runs there \(first, second\)"):
        read(tmp_path / "trial.db")


def test_an_offline_file_of_wandb_gives_its_run_whole_or_torn(tmp_path: Path) -> None:
    logged_by("wandb", tmp_path, 'settings={"console": "off"}')
    folders = sorted(tmp_path.glob("wandb/offline-run-*"))
    (record,) = folders[0].glob("run-*.wandb")
    run = read(record)
    check_first(run)
    assert run.name == tmp_path.name and read(folders[0]).rows == run.rows
    torn = tmp_path / "run-torn.wandb"
    torn.write_bytes(record.read_bytes()[:-1500])
    rows = read(torn).rows
    assert len(rows) > 0 and rows == run.rows[: len(rows)]


def test_a_tracker_without_a_global_step_counts_by_its_own() -> None:
    rows = as_logged([{"step": 3, "loss": 1.0}, {"step": 4, "loss": 2.0, "note": "text"}])
    assert rows == [{"step": 3, "loss": 1.0}, {"step": 4, "loss": 2.0}]


def test_lines_that_a_kill_cut_are_passed_over_in_every_file(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=8)
    (whole,) = records([folder])
    for name, tail in (
        ("metrics.jsonl", b'{"step": 9, "entropy": {"a": 1}'),  # ends like a whole one
        ("completions.jsonl", b'{"step": 9, "prompt": "\xe2\x82'),  # within a character
        ("histograms.jsonl", b'{"step": 9, "key": "entropy", "edges": [0, 1'),
    ):
        with (folder / name).open("ab") as stream:
            stream.write(tail)
    (torn,) = records([folder])
    assert torn.run.rows == whole.run.rows
    assert torn.completions == whole.completions and torn.histograms == whole.histograms
    (folder / "run.json").write_text('{"seed": 0, "na')
    (without,) = records([folder])
    assert without.run.rows == whole.run.rows and without.run.seed is None
    (line,) = without.damage
    assert "run.json: no JSON (Unterminated string" in line and line.endswith("the run is read without it")


@pytest.mark.parametrize("kind", ["nothing", "text", "other database", "empty database"])
def test_what_is_no_run_is_said_in_one_line(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "x.db"
    if kind == "text":
        file.write_text("no database, but long enough to be looked at" * 9)
    elif kind != "nothing":
        with sqlite3.connect(file) as database:
            database.execute("CREATE TABLE other (a)" if kind == "other database" else
                             "CREATE TABLE metrics (id INTEGER, run_id, run_name, step, metrics)")  # fmt: skip
    with pytest.raises(
        (FileNotFoundError, ValueError), match=r"no such file|no database of trackio|no run in it yet"
    ) as raised:
        read_all(file)
    assert "\n" not in str(raised.value) and str(file) in str(raised.value)
