"""Metrics of the dashboard row 'state'."""

from entropostat.metrics.schema import Metric

METRICS: tuple[Metric, ...] = ()
