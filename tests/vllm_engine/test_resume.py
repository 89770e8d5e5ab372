"""A run that samples by vLLM and is stopped anywhere, and resumed, is the run that was never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.at_step import StopAt
from support.log_history import logged, step_rows
from vllm_engine.shared import COLOCATED

PID = {"pid": {"signal": "entropy", "effect": "raises", "target": 2.0, "ki": 1e-2, "low": -0.1, "high": 0.1}}
HEATED = {"schedule": {"points": [[0, 0.7], [8, 1.5]]}}


def make(path: str, folder: Path) -> Any:
    spec = tiny.objective(penalties=[{"entropy_bonus": {"coef": PID}}])
    spec |= {"scalars": [("temperature", "temperature", {"value": HEATED})]}
    return tiny.ours(
        path, spec, **COLOCATED, output_dir=str(folder), save_strategy="steps", save_steps=1000, max_steps=10,
        steps_per_generation=4, num_iterations=2, shuffle_dataset=False,
    )  # fmt: skip


def rows(trainer: Any) -> list[tuple[float, ...]]:
    keys = ("step", "loss", "grad_norm", "entropy", "control/penalties.entropy_bonus.coef/output")
    return [tuple(row[key] for key in keys) for row in step_rows(trainer)]


@pytest.mark.parametrize("stop", [3, 8])
def test_resuming_in_the_middle_of_a_generation_or_at_its_end_changes_nothing(
    path: str, tmp_path: Path, stop: int
) -> None:
    """On a CPU the engine draws from the generator of the process, which a checkpoint has: so bit by bit."""
    whole = make(path, tmp_path / "whole")
    whole.train()
    first = make(path, tmp_path / "stopped")
    first.add_callback(StopAt(first, stop))
    first.train()
    assert first.state.global_step == stop
    second = make(path, tmp_path / "stopped")
    second.train(resume_from_checkpoint=str(tmp_path / "stopped" / f"checkpoint-{stop}"))
    assert rows(second) == rows(whole)
    assert second.thermostat.state == whole.thermostat.state
    gaps = logged(second, "sampling/sampling_logp_difference/mean")
    assert len(gaps) == 2 and max(gaps) < 0.01
