"""How slow the machine is just now, for bars in seconds: processor time too grows where two threads share a core."""

from __future__ import annotations

import time

QUIET = 0.2
"""Processor seconds of the work below on a machine that does nothing else."""


def pace() -> float:
    """At least 1: what a bar in seconds is multiplied by."""
    begun = time.process_time()
    table: dict[str, int] = {}
    for number in range(600_000):
        table[str(number % 5000)] = number
    return max(1.0, (time.process_time() - begun) / QUIET)
