"""The metric schema: one declared table of everything that a run logs. Imports no torch."""

from entropostat.metrics.schema import ROWS, Metric, Row
from entropostat.metrics.table import find, find_in, table
from entropostat.metrics.terms import kinds

__all__ = ["ROWS", "Metric", "Row", "find", "find_in", "kinds", "table"]
