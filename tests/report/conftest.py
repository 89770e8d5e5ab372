"""One Chromium for the folder, and what the tests do with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.browser import Browser
from support.chromium import chromium, missing


@pytest.fixture(scope="session")
def driver():
    reason = missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"no Chromium: {reason}")
    if reason:
        pytest.skip(f"no Chromium can be started here: {reason}")
    with chromium() as driver:
        yield driver


@pytest.fixture
def browser(driver: Any) -> Browser:
    return Browser(driver)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes the report of some paths; its file."""
    from entropostat.__main__ import main

    def make(*paths: Path) -> Path:
        out = tmp_path_factory.mktemp("report") / "report.html"
        assert main(["report", *map(str, paths), "--out", str(out)]) == 0
        return out

    return make
