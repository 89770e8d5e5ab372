"""What a logged number is: key, unit, direction, meaning, and where the dashboards draw it.

The files beside this one declare the metrics, one file a dashboard row. From the table follow wandb's ``define_metric`` calls
and workspace, trackio's groups, the HTML report and the page docs/dashboard.md; a test refuses a key that is not in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Literal

Row = Literal["state", "control", "forces", "trust", "learning", "text", "health"]
ROWS: dict[Row, str] = {
    "state": "State: how much the policy still explores",
    "control": "Control: what each loop measures, wants and does",
    "forces": "Forces: what moves entropy",
    "trust": "Trust region: how far the policy went, from whom",
    "learning": "Learning: what it earns, in training and held out",
    "text": "Text: what it writes",
    "health": "Health: gradients, faults, time",
}
"""Dashboard rows from top to bottom, with their headings."""


@dataclass(frozen=True)
class Metric:
    key: str
    """As in metrics.jsonl. ``<name>`` stands for one or more segments: ``control/<knob>/output``."""
    unit: str
    """nats, share, tokens, reward, steps, s, ms, bytes, 1 (a plain number) or flag (0 or 1)."""
    better: Literal["up", "down", "target", "none"]
    """target: neither high nor low is good by itself."""
    meaning: str
    row: Row
    panel: str
    """Title of its chart. Metrics of one row and panel are drawn over each other."""

    def __post_init__(self) -> None:
        if self.row not in ROWS:
            raise ValueError(f"{self.key}: {self.row!r} is no dashboard row; rows: {', '.join(ROWS)}")

    @property
    def pattern(self) -> re.Pattern[str]:
        parts = re.split(r"(<[^>]+>)", self.key)
        return re.compile("".join(".+?" if part.startswith("<") else re.escape(part) for part in parts) + r"\Z")


@cache
def table() -> tuple[Metric, ...]:
    """Every declared metric, rows from top to bottom, in the order of declaration; a row's last are those of the terms."""
    of_terms = import_module("entropostat.metrics.terms").metrics_of_terms()
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


@cache
def _by_form() -> tuple[dict[str, Metric], list[tuple[str, int, re.Pattern[str], Metric]]]:
    """Metrics without a placeholder by key; of the others what is before it, the length of literal text, and the pattern."""
    exact = {metric.key: metric for metric in reversed(table()) if "<" not in metric.key}
    others = [metric for metric in table() if "<" in metric.key]
    return exact, [(m.key.partition("<")[0], len(re.sub(r"<[^>]+>", "", m.key)), m.pattern, m) for m in others]
