"""A machine without the packages that are for Linux alone, or optional: macOS is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import run_files

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE.parent / "support" / "bare.py"), str(HERE / "elsewhere.py"), "runs"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(HERE.parents[1])},
        cwd=folder, capture_output=True, check=False, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "runs": folder / "runs"}


def test_every_module_is_imported_and_none_of_the_packages_is(results: dict[str, Any]) -> None:
    assert results["unimported"] == {}
    assert results["foreign"] == []


def test_two_steps_train_by_grpo_by_ppo_with_muon_and_with_a_pass_over_the_vocabulary(results: dict[str, Any]) -> None:
    assert {name: code for name, (code, _) in results["trained"].items()} == dict.fromkeys(results["trained"], 0)
    for folder in results["runs"].iterdir():
        rows = run_files.rows(folder)
        assert len([row for row in rows if "loss" in row]) >= 2, folder


@pytest.mark.parametrize("key", ["model.peft", "tracking.trackio", "trainer.use_vllm", "launch.strategy"])
def test_what_needs_a_missing_package_is_one_line_before_anything_is_built(results: dict[str, Any], key: str) -> None:
    code, line = results["refused"][key]
    assert code == 2
    package = {"launch.strategy": "DeepSpeed"}.get(key, f"the package {key.rpartition('.')[2].removeprefix('use_')}")
    assert f"{key}: " in line and f"needs {package}; pip install " in line
    assert len(list(results["runs"].iterdir())) == len(results["trained"])
