"""The package tree: one copy of every module, in short files."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEAST = 300
"""Characters of a syntax tree: a helper of one short call may be written again."""
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
        for name in ("rl", "trainers", "reward", "slurm", "entropostat", "benchmarks", "tests")
        for f in (ROOT / name).rglob("*.py")
    ]
    long = {str(f): n for f in files if (n := len(f.read_text().splitlines())) > 300}
    assert not long


def test_a_helper_of_the_tests_stands_once() -> None:
    """What two files need is in tests/support. Mutants are lists, and each list has its own short way to write one."""
    places: dict[str, list[str]] = {}
    for file in (f for f in (ROOT / "tests").rglob("*.py") if f.parent.name != "mutation"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("test_"):
                body = [
                    ast.dump(part) for part in node.body if not isinstance(getattr(part, "value", None), ast.Constant)
                ]
                if sum(map(len, body)) > LEAST:
                    places.setdefault("".join(body), []).append(f"{file.relative_to(ROOT)}: {node.name}")
    assert [where for where in places.values() if len(where) > 1] == []


def test_version_is_one() -> None:
    from entropostat import __version__

    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
