"""`entropostat launch` starts the processes that it names, and the recipe trains on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from entropostat import checkpoints
from entropostat.recipe import load

SHORT = [
    "model.build.steps=5",
    "data.curriculum=[{source: easy, steps: 4}]",
    "trainer.per_device_train_batch_size=8",
    "evaluate.prompts=4",
    "evaluate.samples=2",
    "evaluate.k=[1]",
    "objective.penalties.+renyi_bonus.coef=0.1",
    "trainer={save_strategy: steps, save_steps: 2, save_total_limit: 1}",
]


@pytest.mark.parametrize(
    "strategy",
    ["ddp", pytest.param("zero2", marks=pytest.mark.slow), pytest.param("zero3", marks=pytest.mark.slow)],
)
def test_two_processes_train_the_quickstart(tmp_path: Path, strategy: str) -> None:
    launch = f"launch={{strategy: {strategy}, num_processes: 2}}"
    done = subprocess.run(
        [sys.executable, "-m", "entropostat", "launch", "entropostat:quickstart/pid-kl.yaml", launch, *SHORT,
         f"output_dir={tmp_path}"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True, check=False, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "quickstart-pid-kl"
    assert json.loads((folder / "run.json").read_text())["world_size"] == 2
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["finished"] and summary["steps"] == 4
    assert summary["evaluate/easy/entropy_ratio"] == pytest.approx(1.0, abs=0.1)
    assert (folder / "final" / "model.safetensors").is_file()

    # Both ranks wrote into the folder before it got its name, and the older one went after that.
    assert [path.name for path in folder.iterdir() if "checkpoint" in path.name] == ["checkpoint-4"]
    assert checkpoints.damage(folder / "checkpoint-4") is None
    record = checkpoints.manifest(folder / "checkpoint-4")
    assert record["world_size"] == 2 and record["engine"] == ("torch" if strategy == "ddp" else strategy)
    ranks = {f"{name}{rank}{end}" for rank in (0, 1) for name, end in (("rank", ".json"), ("rng_state_", ".pth"))}
    engine = {"zero_to_fp32.py", "latest"} if strategy != "ddp" else {"optimizer.pt"}
    assert record["files"].keys() >= ranks | engine
    other = "zero2" if strategy == "ddp" else "ddp"
    with pytest.raises(ValueError, match="processes were 2 and are 1"):
        checkpoints.check(load(folder / "recipe.yaml", [f"launch.strategy={other}"]), folder / "checkpoint-4", 1)


def test_fewer_processes_than_meant_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from entropostat.trainers.run import check_world

    monkeypatch.setenv("ENTROPOSTAT_EXPECT_WORLD", "2")
    with pytest.raises(RuntimeError, match="asked for 2 processes, but 1 run"):
        check_world(1)
