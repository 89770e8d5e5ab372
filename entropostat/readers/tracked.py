"""Rows of a tracker, back in the form of metrics.jsonl."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from entropostat.metrics.trackers import STEP, logged_key
from entropostat.readers import values
from entropostat.readers.names import ours
from entropostat.readers.rows import Row, in_order
from entropostat.readers.values import is_number, whole

CLOCKS = (STEP, "training/global_step", "step", "_step")
"""Where trackers keep the optimizer step, the surest first: transformers' and ours, verl's, trackio's, wandb's count of rows."""


def as_logged(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Rows with ``step`` and the keys of metrics.jsonl. wandb's own counter, ``_step``, counts rows and not optimizer steps,
    and TRL's profiling rows carry no step at all: they belong to the step before them. Only numbers stay: NaN, which trackio
    keeps as text, is null in metrics.jsonl.
    """
    given = list(rows)
    clock = next((name for name in CLOCKS if any(name in row for row in given)), STEP)
    names: dict[str, str | None] = {}
    logged, step = [], 0
    for row in given:
        own = whole(row.get(clock))
        step = step if own is None else own
        made: Row = {"step": step}
        for key, value in row.items():
            if is_number(value):
                if key not in names:
                    names[key] = _logged(key)
                name = names[key]
                if name is not None:
                    made[name] = value
        logged.append(made)
    return in_order(logged)


def _logged(key: str) -> str | None:
    """None for what is no metric."""
    name = None if key.startswith("_") or key in CLOCKS else values.name(ours(logged_key(key)))
    return None if name == "step" else name
