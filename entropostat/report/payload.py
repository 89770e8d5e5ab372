"""Everything that a report shows, as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from entropostat.report.extracts import completions, heat_maps
from entropostat.report.layout import absent, layout
from entropostat.report.record import Record
from entropostat.report.series import Axes, Column, Grid, columns, pack
from entropostat.report.tables import differences, ends, facts
from entropostat.report.targets import ceiling, targets
from entropostat.strict_json import dumps

RECIPE = 60_000
"""Characters of a recipe's text at most."""


def payload(records: Sequence[Record]) -> dict[str, Any]:
    tables = [columns(record.run) for record in records]
    keys = list(dict.fromkeys(key for each in tables for key in each if key != "epoch"))
    grid = Grid.over([column for each in tables for column in each.values()])
    axes = Axes()
    series = {
        key: [None if (column := each.get(key)) is None else pack(column, grid, axes) for each in tables]
        for key in keys
    }
    families = list(dict.fromkeys(record.family for record in records))
    return {
        "runs": [_run(record, each, families) for record, each in zip(records, tables, strict=True)],
        "rows": layout(keys),
        "absent": absent(keys),
        "buckets": grid.buckets,
        "axes": axes.packed,
        "series": series,
        "ends": ends(records, tables),
        "differences": differences(records),
        "completions": completions([record.completions for record in records]),
    }


def _run(record: Record, table: dict[str, Column], families: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "label": record.label,
        "family": families.index(record.family),
        "recipe_name": record.family[0],
        "seed": record.seed,
        "stages": [[name.partition("/")[2] or name, step] for name, step in record.run.stages.items() if step > 0],
        "ceiling": ceiling(record),
        "targets": targets(record, table),
        "last_step": max((int(column.steps[-1]) for column in table.values()), default=0),
        "heat_maps": heat_maps(record.histograms),
        "facts": facts(record),
        "recipe": record.run.recipe_text[:RECIPE],
        "findings": _findings(record),
        "not_judged": _not_judged(record),
        "trainer": record.run.trainer,
    }


def _findings(record: Record) -> list[dict[str, Any]]:
    """Of `entropostat diagnose`."""
    from entropostat.diagnose import examine

    return [asdict(finding) for finding in examine(record.run)]


def _not_judged(record: Record) -> dict[str, str]:
    """Rule -> what the log lacks for it."""
    from entropostat.diagnose import Log
    from entropostat.diagnose.inputs import looked_for

    return looked_for(Log.of(record.run))[1]


def to_json(data: dict[str, Any]) -> str:
    """Safe within a ``<script>`` element: no completion can close it, and no line separator ends a JavaScript line."""
    text = dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
