"""Say at the end how many files and arrays were compared: a suite that compares nothing must not look green."""

from __future__ import annotations

from typing import Any

ARRAYS = "arrays compared"
"""Property of a test's report, which travels from the process that ran the test."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    passed = terminalreporter.stats.get("passed", [])
    counts = [value for report in passed for name, value in report.user_properties if name == ARRAYS]
    if counts:
        terminalreporter.write_line(f"golden: {len(counts)} files agree, {sum(counts)} arrays compared")
