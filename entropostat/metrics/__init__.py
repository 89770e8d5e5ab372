"""The metric schema: one declared table of everything that a run logs. Imports no torch."""

from entropostat.metrics.schema import ROWS, Metric, Row, find, table

__all__ = ["ROWS", "Metric", "Row", "find", "table"]
