"""kill -9 in the middle of a PPO step: policy and critic go on from the last checkpoint as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from e2e import killed_ppo
from safetensors.torch import load_file
from support.log_history import step_rows


def rows(trainer: Any) -> list[list[Any]]:
    keys = ("step", "loss", "grad_norm", "entropy", "kl", "critic/loss", "critic/clip_fraction", "critic/value",
            "critic/return", "critic/explained_variance", "critic/disagreement", "gae/cost",
            "control/advantages.gae.kl_coef/output")  # fmt: skip
    return [[row.get(key) for key in keys] for row in step_rows(trainer)]


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in trainer.model.named_parameters()}


@pytest.mark.parametrize("case", ["aligned", "buffered", "adapters", pytest.param("trunk", marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, case: str) -> None:
    whole = killed_ppo.make(tmp_path / "whole", case)
    whole.train()

    folder = tmp_path / "killed"
    command = [sys.executable, killed_ppo.__file__, str(folder), "8", case]
    done = subprocess.run(
        command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    kept = load_file(folder / "checkpoint-6" / "critic.safetensors")

    again = killed_ppo.make(folder, case)
    again.train(resume_from_checkpoint=str(folder / "checkpoint-6"))
    assert rows(again) == rows(whole) and len(rows(whole)) == 10
    assert again.thermostat.state == whole.thermostat.state
    ends = weights(again), weights(whole)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[1])
    assert any(not torch.equal(x, ends[1][f"{prefix(whole)}{name}"]) for name, x in kept.items())


def prefix(trainer: Any) -> str:
    """Of the critic's weights in the policy."""
    name = next(name for name in weights(trainer) if ".values.heads.0." in name)
    return name.partition("values.")[0]
