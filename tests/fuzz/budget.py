"""How long to look: a minute in all, the same examples every time; or ``ENTROPOSTAT_FUZZ_SECONDS`` with others each time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("ENTROPOSTAT_FUZZ_SECONDS", "0"))
SHARES = 4
"""Searches among which the time is divided."""


def search(check: Callable[[Any], None], examples: int, drawn: st.SearchStrategy[Any]) -> None:
    """``check`` on so many examples, and again until the time is over where one is given."""
    end = time.monotonic() + SECONDS / SHARES
    bounds = settings(
        max_examples=examples,
        deadline=None,
        derandomize=not SECONDS,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    run = bounds(given(drawn)(check))
    run()
    while time.monotonic() < end:
        run()
