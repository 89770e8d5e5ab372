"""Charts: the metrics of the schema that are drawn over each other. Every dashboard is made of these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from entropostat.metrics.health import CLOCK, SUMMARY
from entropostat.metrics.schema import Metric, Row

LEFT_OUT = frozenset({CLOCK, SUMMARY})
"""No curves: counters that only rise, and what a run has one of."""


@dataclass(frozen=True)
class Panel:
    row: Row
    title: str
    unit: str
    """One for all of its metrics."""
    metrics: tuple[Metric, ...]


def panels(metrics: Iterable[Metric]) -> list[Panel]:
    """In the order of the metrics' first appearance."""
    groups: dict[tuple[Row, str], list[Metric]] = {}
    for metric in metrics:
        if metric.panel not in LEFT_OUT:
            groups.setdefault((metric.row, metric.panel), []).append(metric)
    return [Panel(row, title, members[0].unit, tuple(members)) for (row, title), members in groups.items()]
