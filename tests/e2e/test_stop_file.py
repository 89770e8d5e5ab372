"""The file of a batch job that is to end: the run saves, exits with 0, and goes on by itself when it is started again."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import run_files

from entropostat.environment import STOP_FILE
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.trainers import run
from entropostat.trainers.control import clock
from entropostat.trainers.run import run_recipe
from entropostat.trainers.state.interrupt import stop_on_signal

SHORT = [
    "model.build.steps=20",
    "data.curriculum=[{source: easy, steps: 4}, {source: hard, steps: 4}]",
    "trainer.per_device_train_batch_size=16",
    "evaluate={every: 0, prompts: 4, samples: 2, k: [1], reference: false}",
]


def rows(folder: Path) -> list[list[Any]]:
    lines = run_files.rows(folder)
    keys = ("step", "loss", "entropy", "kl", "control/penalties.kl_ref.coef/output")
    return [[line[key] for key in keys] for line in lines if "loss" in line]


def recipe(folder: Path) -> Any:
    return load(RECIPES / "quickstart" / "pid-kl.yaml", [*SHORT, f"output_dir={folder}"])


def test_a_job_that_is_to_end_saves_and_goes_on_when_it_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run_recipe(recipe(tmp_path / "whole")) == 0

    asked = tmp_path / "stop"
    monkeypatch.setenv(STOP_FILE, str(asked))
    looked: list[int] = []
    look = clock.stop_file

    def after_three_steps() -> Path | None:
        looked.append(1)
        if len(looked) == 3:
            asked.touch()
        return look()

    monkeypatch.setattr(clock, "stop_file", after_three_steps)
    job = recipe(tmp_path / "job")
    assert run_recipe(job, resume="auto") == 0, "no checkpoint yet: auto starts anew"
    assert asked.exists(), "left where it was stopped: the script reads that the job is to start again"
    assert (job.run_dir / "checkpoint-3" / "trainer_state.json").is_file() and not (job.run_dir / "final").exists()
    assert json.loads((job.run_dir / "summary.json").read_text())["finished"] is False

    asked.unlink()
    assert run_recipe(job, resume="auto") == 0
    assert rows(job.run_dir) == rows(recipe(tmp_path / "whole").run_dir) and len(rows(job.run_dir)) == 8
    assert (job.run_dir / "final").is_dir() and not asked.exists()


def test_a_signal_while_the_file_already_stops_the_run_is_a_first_one() -> None:
    """Slurm sends SIGTERM at the end of its patience: the saving that the file has started must not be torn."""
    trainer = SimpleNamespace(stop_requested=True, accelerator=SimpleNamespace(is_main_process=False))
    with stop_on_signal(trainer):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)  # the handler runs between two instructions


def test_every_rank_exits_by_what_the_first_one_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared file system shows a file to some nodes later: one that exits with 130 would keep the job from its restart."""
    seen = tmp_path / "stop"
    monkeypatch.setattr(run, "stop_file", lambda: None)  # here it is not there yet
    monkeypatch.setattr(run, "on_all_ranks", lambda ask: seen)  # and the main process has it
    (tmp_path / "metrics.jsonl").touch()
    trainer = SimpleNamespace(
        state=SimpleNamespace(global_step=3, max_steps=8, log_history=[]),
        args=SimpleNamespace(output_dir=str(tmp_path)),
        accelerator=SimpleNamespace(is_main_process=False, wait_for_everyone=lambda: None),
    )
    assert run.finish(recipe(tmp_path), trainer, None, "") == 0  # type: ignore[arg-type]


def test_a_run_that_finishes_takes_the_request_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = tmp_path / "stop"
    monkeypatch.setenv(STOP_FILE, str(asked))
    asked.touch()
    monkeypatch.setattr(clock, "stop_file", lambda: None)  # it came after the last step
    assert run_recipe(recipe(tmp_path)) == 0
    assert not asked.exists()
