"""Which curve each loop holds at its target, and how high entropy can be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from entropostat.report.record import Record
from entropostat.report.series import Column

HELD = ("entropy", "kl", "reward")
"""Metrics that are also signals, by the same name."""


def targets(record: Record, columns: Mapping[str, Column]) -> dict[str, str]:
    """Metric -> the key of its target: ``entropy`` -> ``control/penalties.entropy_bonus.coef/target``."""
    held: dict[str, str] = {}
    for key in columns:
        if key.startswith("control/") and key.endswith("/target"):
            knob = key[len("control/") : -len("/target")]
            signal = signal_of(record.recipe, knob) or _looks_like(knob, columns)
            if signal in columns:
                held.setdefault(signal, key)
    return held


def signal_of(recipe: Mapping[str, Any], knob: str) -> str:
    """What the controller of the field ``knob`` reads, by the recipe; '' where it does not say."""
    place: Any = recipe.get("objective")
    for part in knob.split("."):
        place = next(_children(place, part), None)
    if not isinstance(place, dict) or not place:
        return ""
    (options, *_) = place.values()
    return str(options.get("signal", "")) if isinstance(options, dict) else ""


def _children(place: Any, part: str) -> Iterator[Any]:
    """A mapping's value, or that of the term in a list that has this name."""
    for mapping in place if isinstance(place, list) else [place]:
        if isinstance(mapping, dict):
            if part in mapping:
                yield mapping[part]
            yield from (
                options for options in mapping.values() if isinstance(options, dict) and options.get("name") == part
            )


def _looks_like(knob: str, columns: Mapping[str, Column]) -> str:
    """The metric with the same values as the loop's signal: a tracker's file brings no recipe."""
    signal = columns.get(f"control/{knob}/signal")
    for name in HELD:
        metric = columns.get(name)
        if signal is None or metric is None:
            continue
        _, mine, its = np.intersect1d(signal.steps, metric.steps, return_indices=True)
        if len(mine) > 1 and np.allclose(signal.values[mine], metric.values[its], rtol=1e-5, atol=1e-9):
            return name
    return ""


def ceiling(record: Record) -> float | None:
    """ln V in nats: the entropy of a policy that knows nothing."""
    size = record.run.vocabulary
    return None if size is None else math.log(size)
