"""What the suite costs: seconds by folder, beside the budget of each. What it leaves behind: nothing. A fixture for all."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import shutil
import tempfile
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

BUDGET = {
    "unit": 240,
    "golden": 30,
    "theory": 40,
    "mutation": 60,
    "contract": 180,
    "peer": 60,
    "distributed": 240,
    "cli": 120,
    "e2e": 360,
    "slurm": 150,
    "report": 60,
    "security": 120,
    "fuzz": 70,
    "in_verl": 1200,
    "vllm_engine": 300,
}
"""Seconds on two cores. The whole of `make test` is to stay below 15 minutes."""


# accelerate asks many times a step whether PEFT and DeepSpeed are installed, and their metadata are parsed each time: a quarter of
# what a run of a test's size costs. Nothing is installed meanwhile.
importlib.metadata.metadata = lru_cache(importlib.metadata.metadata)  # type: ignore[assignment]


def pytest_configure(config: Any) -> None:
    """Models, runs and what libraries forget go into one folder that is removed; pytest keeps its own, to look into a failure."""
    if hasattr(config, "workerinput"):  # a process of pytest-xdist: it has inherited the folder
        return
    patch = pytest.MonkeyPatch()  # a process may run pytest again
    patch.setenv("PYTEST_DEBUG_TEMPROOT", os.environ.get("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir()))
    folder = tempfile.mkdtemp(prefix="entropostat-tests-")
    patch.setenv("TMPDIR", folder)
    patch.setattr(tempfile, "tempdir", folder)
    config.add_cleanup(lambda: (patch.undo(), shutil.rmtree(folder, ignore_errors=True)))


def pytest_collection_finish(session: Any) -> None:
    """Each run of a trainer begins with a collection of garbage, which would look at all of torch and transformers anew."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: Any) -> None:
    gc.unfreeze()  # or libraries complain at the end of the process


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the recipe ``GOOD`` of the test's module as good.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(request.module.GOOD)
    return tmp_path


spent: dict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: Any) -> None:
    spent[Path(report.fspath).parts[1]] += report.duration


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.section("seconds by folder, of its budget")
    for folder, seconds in sorted(spent.items()):
        terminalreporter.write_line(f"{folder:<12} {seconds:6.0f} of {BUDGET.get(folder, 0):4d}")
