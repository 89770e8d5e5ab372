"""A recipe of few keys, to which tests of the plan add theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.linting import RECIPE


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(RECIPE)
    return tmp_path / "base.yaml"
