"""The tables of docs/dashboard.md: its words are written by hand, what stands between its marks is the metric schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from entropostat.metrics.schema import ROWS, Metric, Row
from entropostat.metrics.table import table
from entropostat.metrics.terms import metrics_of_terms

MARKS = re.compile(r"(<!-- metrics: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
BETTER = {"up": "higher", "down": "lower", "target": "neither", "none": ""}
TERMS = "terms"
"""Name of the marks around what the terms report; a row's name stands for the rest of that row."""


def filled(text: str) -> str:
    """``text`` with every marked table as the schema has it. Raises ValueError where a row has no marks."""
    missing = {*ROWS, TERMS} - {name for _, name, _ in MARKS.findall(text)}
    if missing:
        raise ValueError(f"no table is marked <!-- metrics: {min(missing)} -->")
    return MARKS.sub(lambda mark: "".join((mark[1], "\n".join(_lines(mark[2])), "\n", mark[3])), text)


def write(file: Path) -> None:
    """Bring the tables of ``file`` up to date."""
    file.write_text(filled(file.read_text(encoding="utf-8")), encoding="utf-8")


def rows(row: Row) -> list[Metric]:
    """The metrics of a row but for the terms'."""
    terms = set(metrics_of_terms())
    return [metric for metric in table() if metric.row == row and metric not in terms]


def _lines(name: str) -> Iterator[str]:
    metrics = metrics_of_terms() if name == TERMS else rows(name)  # type: ignore[arg-type]
    yield "| metric | unit | better | what it is |"
    yield "|---|---|---|---|"
    for metric in metrics:
        meaning = metric.meaning.replace("|", "\\|")
        yield f"| `{metric.key}` | {metric.unit} | {BETTER[metric.better]} | {meaning} |"
