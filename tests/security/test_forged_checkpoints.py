"""A checkpoint from elsewhere is data: whatever a file of it holds, resuming runs no code."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from security import forged
from support import ranks, tiny
from trl import GRPOTrainer

from entropostat import manifest
from entropostat.faults import reason
from entropostat.trainers.state.restricted import FORBIDDEN, FORCED, restricted_loading
from entropostat.trainers.state.saving import PICKLED, check_engine

UNREAD = "training_args.bin"
"""Saved for people; no resume opens it."""


def held(ends: dict[str, Any], read: set[str]) -> None:
    """Every file that a resume reads stopped it, and none ran its program."""
    assert ends.pop("")[0] == "step 2", "the checkpoint as it was saved"
    ran = [file for file, (_, did) in ends.items() if did]
    assert ran == []
    stopped = {file.split()[0] for file, (how, _) in ends.items() if how == "UnpicklingError"}
    others = {file.split()[0] for file, (how, _) in ends.items() if how == "step 2"}
    assert stopped >= read and others == {UNREAD} and stopped | others == {file.split()[0] for file in ends}


def test_no_file_of_a_checkpoint_runs_code(tmp_path: Path) -> None:
    held(forged.attempts(tiny.saved(), tmp_path / "run"), {"optimizer.pt", "scheduler.pt", "rng_state.pth"})


@pytest.mark.parametrize("stage", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_no_file_of_a_checkpoint_of_deepspeed_runs_code(tmp_path: Path, stage: int) -> None:
    out = tmp_path / "run"
    ranks.run(Path(forged.__file__), tiny.saved(), out, strategy=f"zero{stage}")
    model = "mp_rank_00" if stage == 2 else "zero_pp_rank_0_mp_rank_00"
    read = {f"global_step1/{model}_model_states.pt", "global_step1/zero_pp_rank_0_mp_rank_00_optim_states.pt"}
    held(json.loads(out.with_suffix(".json").read_text()), read)


def test_what_a_file_asks_for_is_said_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "optimizer.pt"
    torch.save(forged.Program(tmp_path / "mark"), file)
    with (
        pytest.raises(pickle.UnpicklingError) as caught,
        restricted_loading(SimpleNamespace(is_deepspeed_enabled=False)),
    ):
        torch.load(file, weights_only=False)
    said = reason(caught.value, tmp_path)
    assert said == "a file of the checkpoint asks for posix.system, and only numbers and text are loaded from one"


def test_the_environment_cannot_lift_the_restriction_and_gets_its_own_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(forged.Program(tmp_path / "mark"), tmp_path / "file")
    monkeypatch.setenv(FORBIDDEN, "1")
    with restricted_loading(SimpleNamespace(is_deepspeed_enabled=False)), pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "file")
    assert os.environ[FORBIDDEN] == "1" and FORCED not in os.environ and not (tmp_path / "mark").exists()


def test_what_torch_unpickles_by_itself_needs_allow_code(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-6"
    part = checkpoint / "pytorch_model_fsdp_0"
    part.mkdir(parents=True)
    (part / PICKLED).touch()
    (checkpoint / manifest.STATE).touch()
    manifest.seal(checkpoint, world_size=1, engine="fsdp")
    trainer = SimpleNamespace(is_deepspeed_enabled=False, is_fsdp_enabled=True)
    with pytest.raises(
        ValueError, match=r"torch unpickles \.metadata of pytorch_model_fsdp_0, which can run code; add --allow-code"
    ):
        check_engine(trainer, checkpoint)
    check_engine(trainer, checkpoint, allow_code=True)


@pytest.mark.parametrize("method", ["_prepare_for_training", "_load_best_model"])
def test_whatever_reads_a_checkpoint_reads_it_as_data(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under DeepSpeed the engine's files are read within these two, and so is the best model."""
    seen = []
    monkeypatch.setattr(GRPOTrainer, method, lambda trainer, *args: seen.append(os.environ.get(FORCED)))
    getattr(tiny.ours(tiny.saved()), method)()
    assert seen == ["1"] and FORCED not in os.environ
