"""Metrics of the dashboard row 'text'."""

from entropostat.metrics.schema import Metric

METRICS: tuple[Metric, ...] = ()
