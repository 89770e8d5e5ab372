"""A run that is stopped anywhere, and resumed, is the run that was never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import tiny
from transformers import TrainerCallback

PID = {"pid": {"signal": "kl", "target": 0.01, "effect": "lowers", "kp": 1.0, "ki": 0.3, "smoothing": 0.5,
               "space": "log", "start": 0.2, "low": 0.01, "high": 5.0}}  # fmt: skip


class StopAt(TrainerCallback):
    def __init__(self, trainer: Any, step: int) -> None:
        self.trainer, self.step = trainer, step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.stop_requested = state.global_step + 1 == self.step


def make(path: str, folder: Path) -> Any:
    weights = [{"clip_cov": {"fraction": 0.2, "low": 0.0}}]
    spec = tiny.objective(weights=weights, penalties=[{"kl_ref": {"coef": PID}}])
    changes = {"max_steps": 10, "steps_per_generation": 4, "num_iterations": 2, "shuffle_dataset": False}
    return tiny.ours(path, spec, output_dir=str(folder), save_strategy="steps", save_steps=1000, **changes)


def rows(trainer: Any) -> list[tuple[float, ...]]:
    keys = ("step", "loss", "grad_norm", "entropy", "kl", "control/penalties.kl_ref.coef/output", "clip_cov/fraction")
    return [tuple(row[key] for key in keys) for row in trainer.state.log_history if "loss" in row]


@pytest.mark.parametrize("stop", [1, 3, 8])
def test_resuming_in_the_middle_of_a_generation_changes_nothing(tmp_path: Path, stop: int) -> None:
    path = tiny.saved()
    whole = make(path, tmp_path / "whole")
    whole.train()

    first = make(path, tmp_path / "stopped")
    first.add_callback(StopAt(first, stop))
    first.train()
    assert first.state.global_step == stop
    second = make(path, tmp_path / "stopped")
    second.train(resume_from_checkpoint=str(tmp_path / "stopped" / f"checkpoint-{stop}"))

    assert rows(second) == rows(whole)
    assert second.control_state == whole.control_state
    assert second.generations == whole.generations
