"""A reference that moves is the same one whether the ranks hold all of it or, under ZeRO-3, their shares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import ranks, run_files

SHORT = [
    "model.build.steps=5",
    "data.curriculum=[{source: easy, steps: 8}]",
    "trainer.per_device_train_batch_size=8",
    "trainer.save_strategy=steps",
    "trainer.save_steps=4",
    "evaluate={every: 0, prompts: 2, samples: 2, k: [1], reference: true}",
    "objective.penalties.kl_ref.decay=0.7",
    "objective.penalties.+entropy_bonus.coef=-1",  # moves the policy whatever the answers
]


def launch(folder: Path, strategy: str, *more: str) -> Path:
    options = [f"launch={{strategy: {strategy}, num_processes: 2}}", *SHORT, f"output_dir={folder / strategy}"]
    words = ["launch", "entropostat:methods/kl_ema.yaml", *options, *more]
    ranks.entropostat(*words, XDG_CACHE_HOME=folder / "cache")
    ranks.trained_by(folder / strategy / "kl_ema", strategy, world=2)
    return folder / strategy / "kl_ema"


def anchor(run: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run / f"checkpoint-{step}" / "anchor.safetensors")


def policy(run: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run / f"checkpoint-{step}" / "model.safetensors")


def apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[name].float() - b[name].float()).abs().max()) for name in a.keys() & b.keys())


def kl(run: Path) -> list[float]:
    rows = run_files.rows(run)
    return [row["kl"] for row in rows if "loss" in row]


@pytest.mark.slow
def test_shares_give_the_average_that_whole_models_give(tmp_path: Path) -> None:
    ddp, zero3 = launch(tmp_path, "ddp"), launch(tmp_path, "zero3")
    for step in (4, 8):
        average, wanted = anchor(zero3, step), anchor(ddp, step)
        assert {name: x.shape for name, x in average.items()} == {name: x.shape for name, x in wanted.items()}
        moved = apart(wanted, policy(ddp, step))
        # What rounding makes of two strategies' policies: Adam's first steps turn it into steps of its own size.
        assert apart(average, wanted) <= apart(policy(zero3, step), policy(ddp, step)) + 1e-6 < moved / 10

    # A whole copy that ZeRO-3 keeps from an earlier forward pass would make the KL that of a reference that stays.
    assert kl(zero3) == pytest.approx(kl(ddp), rel=1e-3) and kl(ddp)[-1] > 1e-3

    # Resumed with its shares cut again from the file.
    whole = anchor(zero3, 8)
    launch(tmp_path, "zero3", "--resume", str(zero3 / "checkpoint-4"))
    assert apart(anchor(zero3, 8), whole) <= 1e-6
