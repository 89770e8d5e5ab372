"""Rows of a tracker, back in the form of metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from entropostat.metrics.trackers import STEP, logged_key


def as_logged(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with ``step`` and the keys of metrics.jsonl. wandb's own counter, ``_step``, counts rows and not optimizer steps,
    and TRL's profiling rows carry no step at all: they belong to the step before them. Only numbers stay: NaN, which trackio
    keeps as text, is null in metrics.jsonl.
    """
    given = list(rows)
    counted = any(STEP in row for row in given)
    found, step = [], 0
    for row in given:
        own = row.get(STEP) if counted else row.get("step", row.get("_step"))
        step = int(own) if isinstance(own, int | float) else step
        kept = {logged_key(key): value for key, value in row.items() if _is_logged(key, value)}
        found.append({**kept, "step": step})
    return found


def _is_logged(key: str, value: Any) -> bool:
    return not key.startswith("_") and key != STEP and isinstance(value, int | float) and math.isfinite(value)
