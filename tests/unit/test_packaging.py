"""The package tree: one copy of every module, in short files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINKED = ("rl", "trainers", "reward", "recipes", "slurm")


@pytest.mark.parametrize("name", LINKED)
def test_packages_are_relative_links(name: str) -> None:
    assert os.readlink(ROOT / "entropostat" / name) == f"../{name}"


@pytest.mark.parametrize("name", ["rl", "trainers", "reward", "slurm"])
def test_a_second_copy_of_a_package_is_refused(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert f"import entropostat.{name}, not {name}" in done.stderr


def test_hand_written_files_stay_short() -> None:
    files = [
        f
        for name in ("rl", "trainers", "reward", "slurm", "entropostat", "benchmarks")
        for f in (ROOT / name).rglob("*.py")
    ]
    long = {str(f): n for f in files if (n := len(f.read_text().splitlines())) > 300}
    assert not long


def test_version_is_one() -> None:
    from entropostat import __version__

    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
