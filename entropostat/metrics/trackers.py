"""What a metric is called where the trackers keep it, and how wandb is told about it.

transformers puts ``train/`` before every key. wandb keeps that, because its workspace says which metric stands where. trackio
makes its groups of what is before the first slash, and would have one group, ``train``: there a key gets its row instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entropostat.metrics.health import CLOCK
from entropostat.metrics.schema import ROWS, Row
from entropostat.metrics.table import find_in

PREFIX = "train/"
STEP = "train/global_step"
"""The x axis. Rows of trackers have a count of their own, which also counts rows that are no step."""
GROUPS: dict[Row, str] = {row: f"{place} {row.capitalize()}/" for place, row in enumerate(ROWS, start=1)}
"""trackio sorts its groups by name: the number keeps the rows in order."""
OWN = "control/"
"""What every key of the row 'control' begins with: said once, and trackio makes a group of each knob."""


UNPREFIXED = "profiling/"
"""TRL logs these past transformers."""


def in_wandb(key: str) -> str:
    return key if key.startswith(UNPREFIXED) else PREFIX + key


def in_trackio(key: str, kinds: Mapping[str, str]) -> str:
    """``entropy`` -> ``1 State/entropy``; a key that is not declared stays under ``train/``."""
    metric = find_in(key, kinds)
    return PREFIX + key if metric is None else GROUPS[metric.row] + key.removeprefix(OWN)


def logged_key(name: str) -> str:
    """The key of metrics.jsonl that a tracker, wandb or trackio, has under ``name``."""
    for row, group in GROUPS.items():
        if name.startswith(group):
            return (OWN if row == "control" else "") + name.removeprefix(group)
    return name.removeprefix(PREFIX)


def definition(key: str, kinds: Mapping[str, str]) -> dict[str, Any] | None:
    """Arguments of ``wandb.define_metric`` for a key of a run; None for one that is not declared.

    The best value stands in the table of runs beside the last one where a metric has a good side.
    """
    metric = find_in(key, kinds)
    if metric is None:
        return None
    best = {"up": "max,last", "down": "min,last"}.get(metric.better)
    told = {"name": in_wandb(key), "step_metric": STEP}
    return told | ({"summary": best} if best else {}) | ({"hidden": True} if metric.panel == CLOCK else {})
