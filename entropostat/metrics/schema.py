"""What a logged number is: key, unit, direction, meaning, and where the dashboards draw it.

The files beside this one declare the metrics, one file a dashboard row. From the table follow wandb's ``define_metric`` calls
and workspace, trackio's groups, the HTML report and the page docs/dashboard.md; a test refuses a key that is not in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
