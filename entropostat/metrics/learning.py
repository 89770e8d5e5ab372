"""Metrics of the dashboard row 'learning'."""

from entropostat.metrics.schema import Metric

METRICS: tuple[Metric, ...] = ()
