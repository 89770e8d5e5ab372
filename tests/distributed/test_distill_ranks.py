"""Distillation on two ranks: the teacher whole under DDP, cut by ZeRO-3, and the same policy in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from support import ranks, tiny

WORKER = Path(__file__).with_name("distill.py")
LIMIT = 1e-5


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The policy, and a wider teacher that is surer of itself."""
    folder = tmp_path_factory.mktemp("teacher")
    guide = tiny.model(9, hidden=64)
    guide.lm_head.weight.data *= 20
    guide.save_pretrained(folder)
    return tiny.saved(), folder


def trained(models: tuple[str, Path], folder: Path, strategy: str) -> list[dict[str, Any]]:
    ranks.run(WORKER, *models, folder / strategy, strategy=strategy, world=2)
    return [torch.load(folder / f"{strategy}-{rank}.pt", weights_only=False) for rank in (0, 1)]


def test_zero3_cuts_the_teacher_and_trains_what_ddp_trains(models: tuple[str, Path], tmp_path: Path) -> None:
    ddp, zero3 = (trained(models, tmp_path, strategy) for strategy in ("ddp-cpu", "zero3"))
    assert (ddp[0]["engine"], ddp[0]["cut"]) == ("DistributedDataParallel", False)
    assert (zero3[0]["engine"], zero3[0]["stage"], zero3[0]["cut"]) == ("DeepSpeedEngine", 3, True)
    for rank in (0, 1):
        assert len(ddp[rank]["rows"]) == 4 and ddp[rank]["rows"][0]["distill/divergence"] > 0.1
        assert all(row["tip/fraction"] == pytest.approx(0.5, abs=0.03) for row in ddp[rank]["rows"])
        for row, expected in zip(zero3[rank]["rows"], ddp[rank]["rows"], strict=True):
            assert row == pytest.approx(expected, rel=10 * LIMIT, abs=LIMIT)
    start = tiny.model().state_dict()
    wanted, params = ddp[0]["params"], zero3[0]["params"]
    assert params.keys() == wanted.keys() == start.keys()
    assert max(float((p - start[name]).abs().max()) for name, p in wanted.items()) > 1e-3
    norm = sum(float(p.square().sum()) for p in wanted.values()) ** 0.5
    apart = sum(float((params[name] - p).square().sum()) for name, p in wanted.items()) ** 0.5
    assert apart <= LIMIT * norm
    for strategy in ("ddp-cpu", "zero3"):
        files = list((tmp_path / f"{strategy}-run" / "checkpoint-4").glob("model*.safetensors"))
        assert files
        for file in files:
            with safe_open(file, "pt") as weights:
                shapes = {name: weights.get_slice(name).get_shape() for name in [*weights.keys()]}
                assert shapes and all(shape == list(start[name].shape) for name, shape in shapes.items())
