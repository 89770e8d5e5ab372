"""What the suite costs: seconds by folder, beside the budget of each."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

BUDGET = {
    "unit": 240,
    "golden": 30,
    "theory": 40,
    "mutation": 60,
    "contract": 180,
    "distributed": 240,
    "cli": 120,
    "e2e": 360,
    "slurm": 150,
    "report": 60,
}
"""Seconds on two cores. The whole of `make test` is to stay below 20 minutes."""

spent: dict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: Any) -> None:
    spent[Path(report.fspath).parts[1]] += report.duration


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.section("seconds by folder, of its budget")
    for folder, seconds in sorted(spent.items()):
        terminalreporter.write_line(f"{folder:<12} {seconds:6.0f} of {BUDGET.get(folder, 0):4d}")
