"""A run that is stopped anywhere, and resumed, is the run that was never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import tiny
from support.at_step import StopAt
from support.log_history import step_rows

from entropostat.trainers.grpo import EntropyGRPOTrainer

PID = {"pid": {"signal": "kl", "target": 0.01, "effect": "lowers", "kp": 1.0, "ki": 0.3, "smoothing": 0.5,
               "space": "log", "start": 0.2, "low": 0.01, "high": 5.0}}  # fmt: skip


def make(path: str, folder: Path) -> Any:
    weights = [{"clip_cov": {"fraction": 0.2, "low": 0.0}}]
    spec = tiny.objective(weights=weights, penalties=[{"kl_ref": {"coef": PID}}])
    changes = {"max_steps": 10, "steps_per_generation": 4, "num_iterations": 2, "shuffle_dataset": False}
    return tiny.ours(path, spec, output_dir=str(folder), save_strategy="steps", save_steps=1000, **changes)


def rows(trainer: Any) -> list[tuple[float, ...]]:
    keys = ("step", "loss", "grad_norm", "entropy", "kl", "control/penalties.kl_ref.coef/output", "clip_cov/fraction")
    return [tuple(row[key] for key in keys) for row in step_rows(trainer)]


MOVING: dict[str, dict[str, Any]] = {
    "average": {"reference": "ema", "decay": 0.8},
    "average in bfloat16": {"reference": "ema", "decay": 0.8},
    "average of an adapter": {"reference": "ema", "decay": 0.8},
    "reset": {"reference": "reset", "every": 4},
    "reset of an adapter": {"reference": "reset", "every": 4},
}


def moving(case: str, path: str, folder: Path, term: Any = None) -> Any:
    """A trainer whose reference moves. The policy is an adapter, or of bfloat16, where the case says so."""
    torch.manual_seed(0)
    model: Any = path
    if "bfloat16" in case:
        model = tiny.model(dtype=torch.bfloat16)
        model.config._name_or_path = path
    return EntropyGRPOTrainer(
        model=model,
        reward_funcs=tiny.digits,
        args=tiny.config(max_steps=8, output_dir=str(folder), save_strategy="steps", save_steps=1000),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(penalties=[{"kl_ref": {"coef": 0.1, **(MOVING[case] if term is None else term)}}]),
        peft_config=tiny.LORA if "adapter" in case else None,
    )


def reference(trainer: Any) -> list[torch.Tensor]:
    return [r.detach() for _, _, r in trainer.anchor.pairs()]


def train_to(trainer: Any, step: int) -> None:
    trainer.add_callback(StopAt(trainer, step))
    trainer.train()


@pytest.mark.parametrize("case", MOVING)
def test_a_reference_that_moves_goes_on_from_where_it_was(tmp_path: Path, case: str) -> None:
    path = tiny.saved()
    whole = moving(case, path, tmp_path / "whole")
    whole.train()

    first = moving(case, path, tmp_path / "stopped")
    train_to(first, 3)
    checkpoint = tmp_path / "stopped" / "checkpoint-3"
    kept = load_file(checkpoint / "anchor.safetensors")
    assert {x.dtype for x in kept.values()} == {torch.float32}
    second = moving(case, path, tmp_path / "stopped")
    second.train(resume_from_checkpoint=str(checkpoint))

    keys = ("step", "loss", "grad_norm", "kl", "anchor/initial_share", "anchor/resets")
    logged = [[[row.get(k) for k in keys] for row in step_rows(t)] for t in (whole, second)]
    assert logged[0] == logged[1] and logged[0][-1][3] > 0
    assert second.anchor.state() == whole.anchor.state()
    assert all(torch.equal(a, b) for a, b in zip(reference(second), reference(whole), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(reference(first), reference(whole), strict=True))


def test_the_best_evaluation_and_the_evaluations_since_are_kept(tmp_path: Path) -> None:
    path, term = tiny.saved(), {"reference": "reset", "patience": 3}
    first = moving("reset", path, tmp_path, term)
    for reward in (0.5, 0.7, 0.6, 0.1):
        first.log({"evaluate/a/pass@1": reward})
    train_to(first, 2)
    second = moving("reset", path, tmp_path, term)
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert (second.anchor.best, second.anchor.stale, second.anchor.age, second.anchor.resets) == (0.7, 2, 8, 0)


KINDS: dict[str, dict[str, Any]] = {
    "initial": {},
    "ema": {"reference": "ema", "decay": 0.5},
    "reset": {"reference": "reset", "every": 100},
}


@pytest.mark.parametrize(("before", "now"), [("ema", "initial"), ("initial", "ema"), ("ema", "reset")])
def test_a_checkpoint_of_another_kind_of_reference_says_so_in_one_line(
    tmp_path: Path, before: str, now: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tiny.saved()
    train_to(moving("average", path, tmp_path, KINDS[before]), 2)
    second = moving("average", path, tmp_path, KINDS[now])
    start = [p.detach().clone() for p in second.ref_model.parameters()]
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    wanted = (
        f"this checkpoint was saved with kl_ref.reference: {before}, and this run has {now}: its reference starts from "
        "the initial policy"
    )
    assert [line for line in caplog.messages if "kl_ref.reference" in line] == [wanted]
    assert second.anchor.initial_share == (0.5**6 if now == "ema" else 1.0)
    stayed = all(torch.equal(p, q) for p, q in zip(start, second.ref_model.parameters(), strict=True))
    assert stayed == (now != "ema")


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
    assert second.thermostat.state == whole.thermostat.state
    assert second.generations == whole.generations
