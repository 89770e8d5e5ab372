"""The step radius over two processes is that over one, and DeepSpeed's engine takes both parts of the optimizer block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import ranks
from support.run_files import step_rows

WORKER = Path(__file__).with_name("steps.py")


def replayed(folder: Path, worker: Path, dtype: str, world: int) -> dict[str, Any]:
    return ranks.replayed(worker, folder, dtype, world, 8 // world, 1)["step radius"]


def test_two_processes_shorten_a_step_as_one_does(tmp_path: Path) -> None:
    one, two = (replayed(tmp_path, WORKER, "float64", world) for world in (1, 2))
    assert len(one["ratios"]) == 3 and max(one["scales"]) < 0.5
    for key in ("ratios", "scales"):
        assert two[key] == pytest.approx(one[key], rel=1e-9)
    assert float((one["params"] - two["params"]).norm() / one["params"].norm()) <= 1e-10


SHORT = [
    "model.build.steps=5",
    "data.curriculum=[{source: easy, steps: 4}]",
    "trainer.per_device_train_batch_size=8",
    "trainer.learning_rate=5.0e-2",
    "evaluate={every: 0, prompts: 0, reference: false}",
    "objective.penalties.+entropy_bonus.coef=1.0",  # so young a policy earns nothing that it could learn from
    "optimizer.step_radius={}",
]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["zero2", "zero3"])
@pytest.mark.parametrize("muon", [False, True])
def test_deepspeed_scales_the_learning_rate_by_the_last_step(tmp_path: Path, strategy: str, muon: bool) -> None:
    launch = f"launch={{strategy: {strategy}, num_processes: 2}}"
    extra = ["optimizer.muon.adjust=original", "trainer.max_grad_norm=0"] if muon else []
    words = ["launch", "entropostat:quickstart/plain.yaml", launch, *SHORT, *extra, f"output_dir={tmp_path}"]
    ranks.entropostat(*words, XDG_CACHE_HOME=tmp_path / "cache")
    run = tmp_path / "quickstart-plain"
    ranks.trained_by(run, strategy, world=2)
    rows = step_rows(run)
    ratios, scales = ([row[f"radius/{key}"] for row in rows] for key in ("r", "scale"))
    assert len(rows) == 4 and scales[0] == 1 and min(scales) < 1
    for ratio, scale in zip(ratios, scales[1:], strict=False):
        assert scale == pytest.approx(min(1.0, 1 / ratio), rel=1e-6)
    assert all(row["grad_norm"] > 0 for row in rows)
