"""The tables of the report: how each run began and ended, what differs between recipes, and the facts of run.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from entropostat.metrics import find
from entropostat.report.record import Record
from entropostat.report.series import Column

ALWAYS = ("reward", "entropy", "kl", "learning/pass@1", "learning/pass@k")
MAIN = ("pass@", "reward/")
"""What of an evaluation is shown at once; the rest is folded away."""
HIDDEN_FACTS = ("vocabulary", "stages", "command", "versions")


def ends(records: Sequence[Record], tables: Sequence[Mapping[str, Column]]) -> list[dict[str, Any]]:
    """A row for each metric of ALWAYS and of the evaluation: ``first`` and ``last`` of each run, null where it has none.
    The main ones come first.
    """
    held_out = dict.fromkeys(key for columns in tables for key in columns if key.startswith("evaluate/"))
    rows = []
    for key in (*ALWAYS, *sorted(held_out, key=lambda key: not is_main(key))):
        columns = [each.get(key) for each in tables]
        if not any(column is not None for column in columns):
            continue
        metric = find(key)
        rows.append(
            {
                "key": key,
                "main": is_main(key),
                "better": metric.better if metric else "none",
                "meaning": metric.meaning if metric else "",
                "first": [None if column is None else float(column.values[0]) for column in columns],
                "last": [
                    None if column is None else record.run.last(key)
                    for record, column in zip(records, columns, strict=True)
                ],
            }
        )
    return rows


def is_main(key: str) -> bool:
    """'evaluate/hard/pass@1' is, 'evaluate/hard/share/working' is not."""
    return not key.startswith("evaluate/") or key.split("/", 2)[-1].startswith(MAIN)


def differences(records: Sequence[Record]) -> list[list[Any]]:
    """[key, value of run 0, value of run 1, ...] for every key in which the resolved recipes differ; None: not there."""
    flat = [dict(flatten(record.recipe)) for record in records]
    keys = dict.fromkeys(key for each in flat for key in each)
    rows = [[key, *(each.get(key) for each in flat)] for key in keys]
    return [row for row in rows if any(value != row[1] for value in row[2:])]


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys, as on the command line: a term in a list goes by its name and not by its place."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and all(isinstance(item, dict) and len(item) == 1 for item in value):
        for item in value:
            ((name, options),) = item.items()
            named = options.get("name", name) if isinstance(options, dict) else name
            yield from flatten(options, f"{path}.{named}")
    else:
        yield path, json.dumps(value) if not isinstance(value, str) else value


def facts(record: Record) -> list[list[str]]:
    """[name, value] of run.json, the versions in one line."""
    shown = {key: value for key, value in record.facts.items() if key not in HIDDEN_FACTS}
    rows = [[key, value if isinstance(value, str) else json.dumps(value)] for key, value in shown.items()]
    versions = record.facts.get("versions")
    if versions:
        rows.append(["versions", ", ".join(f"{name} {number}" for name, number in versions.items())])
    if "vocabulary" in record.facts:
        rows.append(["vocabulary", str(record.facts["vocabulary"])])
    if "command" in record.facts:
        rows.append(["command", str(record.facts["command"])])
    return rows
