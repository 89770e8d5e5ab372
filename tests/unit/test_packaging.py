"""The package tree: one copy of every module, and each folder imports what it may."""

from __future__ import annotations

import ast
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


def imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("file", sorted((ROOT / "rl").rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT)))
def test_the_maths_imports_torch_only(file: Path) -> None:
    allowed = {"torch", *sys.stdlib_module_names} | ({"triton"} if file.name == "vocab_triton.py" else set())
    for module in imported(file):
        assert module.partition(".")[0] in allowed or module.startswith("entropostat.rl"), module
        assert not module.startswith("torch.distributed")


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
