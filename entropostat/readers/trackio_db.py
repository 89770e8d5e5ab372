"""trackio's database: one sqlite file a project, with a row of JSON for every call of ``log``.

A file from elsewhere may hold SQL of its own: a view in place of the table, a column that is computed. Only a real table is read,
and for a limited time.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from entropostat.readers.damage import Damage
from entropostat.readers.run_folder import Run
from entropostat.readers.tracked import as_logged
from entropostat.regular import opened
from entropostat.visible import visible

KIND = "SELECT type, rootpage FROM sqlite_master WHERE lower(name) = 'metrics'"
QUERY = "SELECT run_id, run_name, step, metrics FROM metrics ORDER BY id"
COLUMNS = "SELECT count(*) FROM pragma_table_xinfo('metrics') WHERE hidden <> 0"
SECONDS = 5.0
"""For sqlite alone, which reads hundreds of megabytes meanwhile."""
INSTRUCTIONS = 10_000
"""Of sqlite's machine, from one look at the clock to the next."""
LONGEST = 1 << 26
"""Bytes of one value: a single call of a function makes no larger one, whatever its arguments."""


def runs(file: Path) -> list[Run]:
    """The runs in the order of their first row. Two of one name stay two: trackio tells them apart by id.

    Raises FileNotFoundError, or ValueError where ``file`` is no such database or holds nothing.
    """
    opened(file).close()
    damage = Damage(file)
    rows: dict[str, list[dict[str, Any]]] = {}
    names: dict[str, str] = {}
    try:
        for identity, name, row in _logged(file, damage):
            names[identity] = name
            rows.setdefault(identity, []).append(row)
    except (sqlite3.Error, sqlite3.Warning) as error:
        said = f"not read within {SECONDS:g} s" if "interrupted" in str(error) else f"no database of trackio ({error})"
        raise ValueError(f"{file}: {said}") from None
    if not rows:
        raise ValueError(f"{file}: no run in it yet")
    all_runs = [Run(names[identity], as_logged(each), {}) for identity, each in rows.items()]
    return [Run(all_runs[0].name, all_runs[0].rows, {}, damage=damage.lines), *all_runs[1:]]


def _logged(file: Path, damage: Damage) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for place, (identity, name, step, metrics) in enumerate(_table(file), start=1):
        try:
            row = json.loads(metrics)
        except (TypeError, ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield str(identity), visible(str(name)), {"step": step, **row}
        else:
            damage.row(place, "no JSON object")


def _table(file: Path) -> list[tuple[Any, ...]]:
    # Read-only: a training may be writing to it, and a report must not leave a journal behind.
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=SECONDS)) as database:
        database.text_factory = lambda raw: raw.decode("utf-8", "replace")
        if hasattr(database, "setlimit"):
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        end = time.monotonic() + SECONDS
        database.set_progress_handler(lambda: time.monotonic() > end, INSTRUCTIONS)
        database.execute("PRAGMA trusted_schema = OFF")
        kind = database.execute(KIND).fetchone()
        if kind is not None and (kind[0] != "table" or not kind[1] or database.execute(COLUMNS).fetchone()[0]):
            raise ValueError(f"{file}: no database of trackio (its metrics are no plain table)")
        return database.execute(QUERY).fetchall()
