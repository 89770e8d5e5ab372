"""Metrics of the dashboard row 'trust'."""

from entropostat.metrics.schema import Metric

METRICS: tuple[Metric, ...] = ()
