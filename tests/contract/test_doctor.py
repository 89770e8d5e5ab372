"""A stock trainer of TRL with the live findings alone; and its output folder, read without torch."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import tiny
from trl import GRPOTrainer

from entropostat import Doctor
from entropostat.readers import read_all


def test_a_stock_trainer_runs_with_a_doctor_and_its_folder_is_read(tmp_path: Path) -> None:
    config = tiny.config(
        output_dir=str(tmp_path / "out"), max_steps=4, logging_steps=2, save_steps=2, save_strategy="steps"
    )
    doctor = Doctor()
    trainer = GRPOTrainer(
        tiny.saved(),
        tiny.digits,
        config,
        train_dataset=tiny.prompts(),
        processing_class=tiny.tokenizer(),
        callbacks=[doctor],
    )
    trainer.train()
    assert doctor.live.log.vocabulary == len(tiny.CHARACTERS) + 3
    (run,) = read_all(tmp_path / "out")
    assert (run.trainer, run.vocabulary) == ("TRL", len(tiny.CHARACTERS) + 3)
    for key in (
        "entropy",
        "reward",
        "completions/mean_length",
        "frac_reward_zero_std",
        "grad_norm",
        "rewards/digits/mean",
    ):
        steps, values = run.series(key)
        assert steps == [2, 4], key
        mine = doctor.live.log.series(key)
        assert list(mine.steps) == steps and list(mine.values) == pytest.approx(values)
    for command in ("diagnose", "compare", "report"):
        begun = time.monotonic()
        words = [sys.executable, "-m", "entropostat", command, str(tmp_path / "out")]
        done = subprocess.run(words, capture_output=True, check=False, text=True, timeout=60, cwd=tmp_path)
        spent = time.monotonic() - begun
        assert spent < 2, f"{command} took {spent:.1f} s"
        assert done.returncode == 0 and done.stderr == "", done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_doctor_tells_each_finding_once_also_after_a_resume(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[tuple[str, str, str]] = []
    rows = [{"step": i, "train/entropy": 0.5 if i < 60 else 0.005, "reward": 0.4} for i in range(1, 121)]
    model = SimpleNamespace(config=SimpleNamespace(vocab_size=100))
    doctor = Doctor(alert=lambda *words: said.append(words))
    feed(doctor, rows, model)
    assert [title.split()[0] for title, _, _ in said] == ["collapse"]
    assert capsys.readouterr().err.count("\n") == 1
    resumed = Doctor(alert=lambda *words: said.append(words))
    feed(resumed, rows[100:], model, past=rows[:100])
    assert len(said) == 1 and capsys.readouterr().err == ""


def feed(doctor: Doctor, rows: list[dict], model: object, past: list[dict] = []) -> None:  # noqa: B006
    state = SimpleNamespace(is_world_process_zero=True, global_step=0, log_history=past)
    doctor.on_train_begin(None, state, None, model=model)
    for row in rows:
        state.global_step = row["step"]
        doctor.on_log(None, state, None, logs=json.loads(json.dumps(row)))
    doctor.on_train_end(None, state, None)
