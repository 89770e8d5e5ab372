"""The reward of a run without one: an objective that reads none, such as distillation alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def unrewarded(completions: Sequence[Any], **_: Any) -> list[float]:
    """0 for every completion."""
    return [0.0] * len(completions)
