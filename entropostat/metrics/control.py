"""Metrics of the dashboard row 'control'."""

from entropostat.metrics.schema import Metric

METRICS: tuple[Metric, ...] = ()
