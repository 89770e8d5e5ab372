"""The head for log Z under DeepSpeed's engines: trained and restored as under DDP. Two processes of DDP: test_equality."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file
from support import ranks
from support.run_files import step_rows

SHORT = [
    "model.build.steps=5",
    "data.curriculum=[{source: easy, steps: 8}]",
    "trainer={per_device_train_batch_size: 8, save_strategy: steps, save_steps: 4}",
    "objective.loss.flowrl.learning_rate=1.0e-2",
    "evaluate={every: 0, prompts: 2, samples: 2, k: [1], reference: true}",
]
KEYS = ("loss", "grad_norm", "entropy", "flowrl/log_z", "flowrl/residual")


def launch(folder: Path, strategy: str, *more: str) -> Path:
    out = folder / strategy
    options = [f"launch={{strategy: {strategy}, num_processes: 2}}", *SHORT, f"output_dir={out}", *more]
    ranks.entropostat("launch", "entropostat:methods/flowrl.yaml", *options, XDG_CACHE_HOME=folder / "cache")
    ranks.trained_by(out / "flowrl", strategy, world=2)
    return out / "flowrl"


def apart(a: Path, b: Path) -> float:
    x, y = load_file(a / "log_z.safetensors"), load_file(b / "log_z.safetensors")
    assert x.keys() == y.keys() and len(x) == 10
    return max(float((x[name].float() - y[name].float()).abs().max()) for name in x)


@pytest.mark.slow
def test_zero_trains_the_head_that_ddp_trains_and_goes_on_with_it(tmp_path: Path) -> None:
    ddp = launch(tmp_path, "ddp")
    moved = apart(ddp / "checkpoint-4", ddp / "checkpoint-8")
    assert moved > 1e-2
    for strategy in ("zero2", "zero3"):
        run = launch(tmp_path, strategy)
        for row, wanted in zip(step_rows(run), step_rows(ddp), strict=True):
            assert [row[key] for key in KEYS] == pytest.approx([wanted[key] for key in KEYS], rel=5e-3, abs=1e-4)
        assert apart(run / "checkpoint-8", ddp / "checkpoint-8") < moved / 100
        assert not any("log_z" in name for name in load_file(run / "checkpoint-8" / "model.safetensors"))
        launch(tmp_path, strategy, "--resume", str(run / "checkpoint-4"))
        assert apart(run / "checkpoint-8", ddp / "checkpoint-8") < moved / 100
