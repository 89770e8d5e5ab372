"""What runs of one file share."""

from __future__ import annotations

import pytest


@pytest.fixture
def cache(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy is built once for a file."""
    folder = tmp_path_factory.getbasetemp() / f"cache of {request.module.__name__}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
