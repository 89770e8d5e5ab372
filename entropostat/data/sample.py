"""A few of many, the same ones every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many, evenly over all and in their order."""
    return [items[place * len(items) // most] for place in range(most)] if len(items) > most else list(items)
