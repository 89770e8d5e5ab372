"""Metrics of the dashboard row 'health'."""

from entropostat.metrics.schema import Metric

METRICS: tuple[Metric, ...] = ()
