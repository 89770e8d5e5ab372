"""What most contracts are tested on."""

from __future__ import annotations

import pytest
from support import tiny


@pytest.fixture(scope="module")
def path() -> str:
    """A folder with a tiny policy and its tokenizer."""
    return tiny.saved()
