"""`entropostat launch` starts the processes that it names, and the recipe trains on them."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from support import ranks

from entropostat import checkpoints, manifest
from entropostat.lock import Lock
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
    words = ["launch", "entropostat:quickstart/pid-kl.yaml", launch, *SHORT, f"output_dir={tmp_path}"]
    folder = tmp_path / "quickstart-pid-kl"
    (tmp_path / "stop").touch()  # after the first step, so that all ranks go on from a checkpoint
    said = ranks.entropostat(*words, XDG_CACHE_HOME=tmp_path / "cache", ENTROPOSTAT_STOP_FILE=tmp_path / "stop")
    again = [line.partition("go on with: ")[2] for line in said.splitlines() if "go on with: " in line]
    assert again == [shlex.join(["entropostat", *words, "--resume", str(folder / "checkpoint-1")])]
    ranks.entropostat(*shlex.split(again[0])[1:], XDG_CACHE_HOME=tmp_path / "cache")
    ranks.trained_by(folder, strategy, world=2)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["finished"] and summary["steps"] == 4
    assert summary["evaluate/easy/entropy_ratio"] == pytest.approx(1.0, abs=0.1)
    assert (folder / "final" / "model.safetensors").is_file()

    # Both ranks wrote into the folder before it got its name, and the older one went after that.
    assert [path.name for path in folder.iterdir() if "checkpoint" in path.name] == ["checkpoint-4"]
    record = manifest.check(folder / "checkpoint-4")
    assert record.world_size == 2 and record.engine == ("torch" if strategy == "ddp" else strategy)
    by_rank = {f"{name}{rank}{end}" for rank in (0, 1) for name, end in (("rank", ".json"), ("rng_state_", ".pth"))}
    engine = {"zero_to_fp32.py", "latest"} if strategy != "ddp" else {"optimizer.pt"}
    assert record.files.keys() >= by_rank | engine
    other = "zero2" if strategy == "ddp" else "ddp"
    with pytest.raises(ValueError, match="processes were 2 and are 1"):
        checkpoints.check(load(folder / "recipe.yaml", [f"launch.strategy={other}"]), folder / "checkpoint-4", 1)


@pytest.mark.slow
def test_ranks_end_together_where_another_process_trains_there(tmp_path: Path) -> None:
    folder = tmp_path / "quickstart-plain"
    checkpoint = folder / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / manifest.STATE).write_text("{}")
    manifest.seal(checkpoint, world_size=2, engine="torch")
    words = ["launch", "entropostat:quickstart/plain.yaml", "launch={strategy: ddp, num_processes: 2}", *SHORT[:4]]
    words += [f"output_dir={tmp_path}", "--resume", "auto"]
    with Lock() as lock:
        lock.take(folder)
        code, said = ranks.ended(sys.executable, "-m", "entropostat", *words, XDG_CACHE_HOME=tmp_path / "cache")
    assert code == 1 and f"process {os.getpid()} on " in said.strip().splitlines()[-1]


def test_a_launcher_that_quietly_starts_one_process_ends_in_one_line(tmp_path: Path) -> None:
    """accelerate's own ``--cpu`` does that. Nothing is trained, and no folder is made."""
    words = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m", "entropostat", "train"]
    words += ["entropostat:quickstart/plain.yaml", *SHORT[:1], f"output_dir={tmp_path / 'runs'}"]
    code, err = ranks.ended(sys.executable, *words, ENTROPOSTAT_EXPECT_WORLD=2, XDG_CACHE_HOME=tmp_path / "cache")
    assert code == 1 and not (tmp_path / "runs").exists()
    assert "quickstart-plain: the launcher asked for 2 processes, but 1 run: check launch.strategy" in err
