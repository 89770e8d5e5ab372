"""Trackers without an account: wandb's offline files and trackio's local database hold the run, and go on with it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.declared import undeclared
from support.run_files import rows

from entropostat.metrics.trackers import logged_key
from entropostat.readers.wandb_file import history, read

KEY = "local-" + "5ecre7" * 8
"""As long as wandb wants one, and nobody's."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder; TRACKIO_DIR is beside it."""
    folder = tmp_path_factory.mktemp("tracked")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("tracked.py")), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1",
             "TRACKIO_DIR": str(folder / "trackio"), "WANDB_MODE": "offline", "WANDB_API_KEY": KEY},
        capture_output=True, check=False, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "warning: collapse: entropy .01 nats since step 3" in done.stderr
    assert KEY not in done.stdout + done.stderr
    return folder / "quickstart-pid-kl"


@pytest.fixture(scope="module")
def wandb_files(run: Path) -> list[Path]:
    return sorted(run.glob("wandb/offline-run-*/run-*.wandb"))


def test_every_logged_key_is_declared(run: Path) -> None:
    assert not undeclared(run)


def test_a_resumed_run_is_the_same_run_to_both(run: Path, wandb_files: list[Path]) -> None:
    identity = json.loads((run / "tracking.json").read_text())["id"]
    assert [file.name for file in wandb_files] == [f"run-{identity}.wandb"] * 2
    for file in wandb_files:
        (record,) = [content for kind, content in read(file) if kind == "run"]
        assert record["run_id"] == identity
        assert record["display_name"] == record["run_group"] == "quickstart-pid-kl"
        assert record["tags"] == ["grpo", "kl_ref", "mine", "pid", "trl"]
    assert {name for name, _ in trackio(run)} == {f"quickstart-pid-kl-{identity}"}


def test_wandb_has_the_numbers_of_the_run(run: Path, wandb_files: list[Path]) -> None:
    """Of each step the row that came last, as metrics.jsonl has it."""
    logged = {row["train/global_step"]: row for file in wandb_files for row in history(file) if "train/loss" in row}
    steps = {row["step"]: row for row in rows(run) if "loss" in row}
    assert logged.keys() == steps.keys() == set(range(1, 9))
    for step, row in steps.items():
        for key in row.keys() - {"step"}:
            assert logged[step][f"train/{key}"] == pytest.approx(row[key], rel=1e-6), key
    held_out = [row["train/global_step"] for row in history(wandb_files[0]) if "train/evaluate/easy/pass@1" in row]
    assert held_out == [0, 8]
    second = [row["train/global_step"] for row in history(wandb_files[1]) if "train/loss" in row]
    assert second == [5, 6, 7, 8]


def test_wandb_is_told_what_each_key_is(run: Path, wandb_files: list[Path]) -> None:
    told = {
        content["name"]: content for kind, content in read(wandb_files[0]) if kind == "metric" and "name" in content
    }
    keys = {key for row in rows(run) for key in row} - {"step"}
    once = {key for key in keys if key.startswith("train_")} | {"total_flos"}
    assert {f"train/{key}" for key in keys - once} <= told.keys()
    assert told["train/reward"]["summary"] == {"max": True, "last": True}
    assert told["train/epoch"]["options"]["hidden"]
    assert "summary" not in told["train/entropy"] and "hidden" not in told["train/entropy"]["options"]
    assert all(content["step_metric"] == "train/global_step" for name, content in told.items() if name[-4:] != "step")
    summary: dict[str, Any] = {}
    for kind, content in read(wandb_files[0]):
        summary |= content if kind == "summary" else {}
    best = max(row["reward"] for row in rows(run) if "reward" in row)
    assert summary["train/reward"]["max"] == pytest.approx(best, abs=1e-6)


def test_completions_and_alerts_reach_the_trackers(run: Path, wandb_files: list[Path]) -> None:
    tables = [row for row in history(wandb_files[0]) if "train/completions/path" in row]
    assert len(tables) == 2  # generations
    content = json.loads((wandb_files[0].parent / "files" / tables[-1]["train/completions/path"]).read_text())
    assert content["columns"] == ["step", "prompt", "completion", "advantage", "entropy", "chain"]
    recorded = [json.loads(line) for line in (run / "completions.jsonl").read_text().splitlines()]
    assert [row[:3] for row in content["data"]] == [[r["step"], r["prompt"], r["completion"]] for r in recorded[-8:]]
    alerts = [content for kind, content in read(wandb_files[0]) if kind == "alert"]
    assert next((a["title"], a["level"]) for a in alerts) == ("collapse", "WARN")
    with sqlite3.connect(run.parent / "trackio" / "trial.db") as base:
        assert ("collapse", "warn") in set(base.execute("select title, level from alerts"))


def test_trackio_has_the_rows_as_groups(run: Path) -> None:
    logged = {name: value for _, metrics in trackio(run) for name, value in metrics.items()}
    groups = {name.partition("/")[0] for name in logged if not name.startswith("profiling/")} - {"train"}
    assert groups == {"1 State", "2 Control", "3 Forces", "4 Trust", "5 Learning", "6 Text", "7 Health"}
    assert [name for name in logged if name.startswith("train/")] == ["train/global_step"]
    last = {key: value for row in rows(run) if "loss" in row for key, value in row.items()}
    for name, value in logged.items():
        if (key := logged_key(name)) in last and not key.endswith("time"):
            assert value == pytest.approx(last[key], rel=1e-6), name


def test_a_key_in_the_environment_stays_there(run: Path) -> None:
    for file in run.parent.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file


def trackio(run: Path) -> list[tuple[str, dict[str, Any]]]:
    """(run, metrics) of each row of its database."""
    with sqlite3.connect(run.parent / "trackio" / "trial.db") as base:
        return [(name, json.loads(metrics)) for name, metrics in base.execute("select run_name, metrics from metrics")]
