"""What most contracts are tested on."""

from __future__ import annotations

import pytest
from support import tiny

from entropostat.trainers import seams


@pytest.fixture(scope="module")
def path() -> str:
    """A folder with a tiny policy and its tokenizer."""
    return tiny.saved()


@pytest.fixture
def backward_of_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs that are compared with stock ones to the digit: Adam makes a whole step of a gradient that is rounding.
    test_head_gradient.py compares our backward pass."""
    monkeypatch.setattr(seams, "departs", lambda objective: False)
