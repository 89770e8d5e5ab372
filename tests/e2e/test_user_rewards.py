"""A verifier of the user's own code, however the run is started: found beside the recipe, and imported before anything large."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = """\
extends: entropostat:quickstart/plain.yaml
name: mine
reward: [function: {path: 'my_rewards:score'}]
model: {build: {steps: 5}}
data: {curriculum: [{source: easy, steps: 1}]}
trainer: {per_device_train_batch_size: 8, save_strategy: "no"}
evaluate: {every: 0, prompts: 0, reference: false}
launch: {strategy: ddp, num_processes: 2}
"""
WAYS = {
    "script": ["script.py", "train"],
    "launch": ["-m", "entropostat", "launch"],
}
SCRIPT = "import sys\nfrom entropostat.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


def start(way: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """From a working directory that has nothing of the recipe's."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "cwd").mkdir(exist_ok=True)
    (folder / "bin" / "script.py").write_text(
        SCRIPT
    )  # as the console script: its folder is on the path, and not the working directory
    first, *rest = WAYS[way]
    command = [sys.executable, str(folder / "bin" / first) if first == "script.py" else first, *rest]
    quiet = {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "DS_ACCELERATOR": "cpu",
        "TOKENIZERS_PARALLELISM": "false",
    }
    environment = {**os.environ, **quiet, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    command += ["../recipes/r.yaml", "--allow-code", *words]
    return subprocess.run(
        command, cwd=folder / "cwd", env=environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "recipes").mkdir()
    (folder / "recipes" / "r.yaml").write_text(RECIPE)
    (folder / "recipes" / "my_rewards.py").write_text(
        "def score(completion, example):\n    return len(completion) / 100\n"
    )
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_it_is_found_beside_the_recipe(way: str, folder: Path) -> None:
    done = start(way, folder, f"name={way}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "cwd" / "runs" / way / "final").is_dir()


def test_a_missing_module_is_one_line_before_the_model_is_looked_for(folder: Path) -> None:
    done = start(
        "script", folder, "reward=[{function: {path: 'nowhere:score'}}]", "model={path: no/model}", "name=lost"
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("lost: ")]
    assert "lost: reward.function: there is no module 'nowhere' beside the recipe or in" in line
    assert not (folder / "cwd" / "runs" / "lost").exists()
