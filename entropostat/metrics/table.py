"""The table of all metrics, those of the terms included, and which of them a key of a run is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module

from entropostat.metrics.schema import ROWS, Metric
from entropostat.metrics.terms import metrics_of_terms


@cache
def table() -> tuple[Metric, ...]:
    """Every declared metric, rows from top to bottom, in the order of declaration; a row's last are those of the terms."""
    of_terms = metrics_of_terms()
    written = [metric for row in ROWS for metric in import_module(f"entropostat.metrics.{row}").METRICS]
    return tuple(metric for row in ROWS for metric in (*written, *of_terms) if metric.row == row)


@cache
def find(key: str) -> Metric | None:
    """The metric that ``key`` of a run is: the declaration with the most literal text that fits, or None."""
    exact, open_ = _by_form()
    if key in exact:  # all of it is literal
        return exact[key]
    fitting = [(size, metric) for head, size, pattern, metric in open_ if key.startswith(head) and pattern.match(key)]
    return max(fitting, key=lambda candidate: candidate[0], default=(0, None))[1]


def find_in(key: str, kinds: Mapping[str, str]) -> Metric | None:
    """``find``, for a run whose recipe gave terms names of their own: see ``kinds``."""
    name, _, metric = key.rpartition("/")
    return find(f"{kinds[name]}/{metric}" if name in kinds else key)


@cache
def _by_form() -> tuple[dict[str, Metric], list[tuple[str, int, re.Pattern[str], Metric]]]:
    """Metrics without a placeholder by key; of the others what is before it, the length of literal text, and the pattern."""
    exact = {metric.key: metric for metric in reversed(table()) if "<" not in metric.key}
    others = [metric for metric in table() if "<" in metric.key]
    return exact, [(m.key.partition("<")[0], len(re.sub(r"<[^>]+>", "", m.key)), m.pattern, m) for m in others]
