"""Metrics of the dashboard row 'forces'."""

from entropostat.metrics.schema import Metric

METRICS: tuple[Metric, ...] = ()
