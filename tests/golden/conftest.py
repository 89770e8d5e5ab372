"""Say at the end how many files and arrays were compared: a suite that compares nothing must not look green."""

from __future__ import annotations

import pytest

COUNTS: list[int] = []


@pytest.fixture(scope="session")
def compared() -> list[int]:
    """Arrays compared, one entry per file that agrees."""
    return COUNTS


def pytest_terminal_summary(terminalreporter):
    if COUNTS:
        terminalreporter.write_line(f"golden: {len(COUNTS)} files agree, {sum(COUNTS)} arrays compared")
