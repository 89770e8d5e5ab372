"""Dashboard rows and panels, from the metric schema: metrics of one row and panel are drawn over each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from entropostat.metrics import ROWS, Metric, find, table

OTHER = "other"
ROW_TITLES = {**{str(row): title for row, title in ROWS.items()}, OTHER: "Other: what the metric schema does not know"}
KNOB = "control/"


def layout(keys: Iterable[str], find: Callable[[str], Metric | None] = find) -> list[dict[str, Any]]:
    """The rows that have something to show, top to bottom: ``id``, ``title`` and ``panels``. A panel has a ``title``, its
    ``knob`` ('' outside the control row) and its ``metrics``. An unknown key gets a panel of its own in the last row.
    """
    order = {metric: index for index, metric in enumerate(table())}
    panels: dict[tuple[str, str, str], list[tuple[int, dict[str, Any]]]] = {}
    for key in dict.fromkeys(keys):
        metric = find(key)
        row, title, knob = (OTHER, key, "") if metric is None else (metric.row, metric.panel, knob_of(key))
        entry = {
            "key": key,
            "label": key.removeprefix(f"{KNOB}{knob}/") if knob else key.removeprefix("evaluate/"),
            "unit": metric.unit if metric else "",
            "better": metric.better if metric else "none",
            "meaning": metric.meaning if metric else "",
        }
        panels.setdefault((row, knob, title), []).append((order.get(metric, len(order)) if metric else 0, entry))
    rows = []
    for row, title in ROW_TITLES.items():
        mine = [(knob, panel, entries) for (where, knob, panel), entries in panels.items() if where == row]
        # The knobs one after the other, within each the panels as they were declared; unknown ones by name.
        mine.sort(key=lambda item: (item[0], min(place for place, _ in item[2]), item[1]))
        if mine:
            rows.append({"id": row, "title": title, "panels": [_panel(*item) for item in mine]})
    return rows


def absent(keys: Iterable[str], find: Callable[[str], Metric | None] = find) -> list[dict[str, str]]:
    """The rows that have nothing to show, as ``layout`` would call them: a log of another trainer lacks most."""
    seen = {metric.row for key in keys if (metric := find(key)) is not None}
    return [{"id": row, "title": title} for row, title in ROW_TITLES.items() if row not in seen and row != OTHER]


def _panel(knob: str, title: str, entries: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    metrics = [entry for _, entry in sorted(entries, key=lambda item: (item[0], _natural(item[1]["key"])))]
    heads = {entry["label"].rpartition("/")[0] for entry in metrics}
    if len(metrics) > 1 and len(heads) == 1:  # 'completions/' before each of them says nothing
        metrics = [{**entry, "label": entry["label"].rpartition("/")[2]} for entry in metrics]
    return {"title": title, "knob": knob, "metrics": metrics}


def _natural(key: str) -> list[tuple[int, int, str]]:
    """pass@4 before pass@16."""
    parts = "".join(c if c.isdigit() else f" {c} " for c in key).split()
    return [(0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part) for part in parts]


def knob_of(key: str) -> str:
    """'penalties.kl_ref.coef' of 'control/penalties.kl_ref.coef/output'; '' where ``key`` belongs to no loop."""
    return key[len(KNOB) :].rpartition("/")[0] if key.startswith(KNOB) else ""
