"""A reward that pays for length: what no one should do."""

from __future__ import annotations

from typing import Any

LONGEST = 21


def by_length(completion: str, example: Any) -> float:
    return min(len(completion) / LONGEST, 1.0)
