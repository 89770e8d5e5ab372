"""The tests of this folder turn red on every fault that is listed for them."""

from __future__ import annotations

import pytest
from mutation.mutants import ELSEWHERE
from mutation.test_mutation import judge


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_listed_fault_turns_these_tests_red() -> None:
    assert not judge(sorted(ELSEWHERE))
