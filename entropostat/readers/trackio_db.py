"""trackio's database: one sqlite file a project, with a row of JSON for every call of ``log``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from entropostat.readers.run_folder import Run
from entropostat.readers.tracked import as_logged

QUERY = "SELECT run_id, run_name, step, metrics FROM metrics ORDER BY id"


def runs(file: Path) -> list[Run]:
    """The runs in the order of their first row. Two of one name stay two: trackio tells them apart by id.

    Raises FileNotFoundError, or ValueError where ``file`` is no such database or holds nothing.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    rows: dict[str, list[dict[str, Any]]] = {}
    names: dict[str, str] = {}
    try:
        for identity, name, row in _logged(file):
            names[identity] = name
            rows.setdefault(identity, []).append(row)
    except sqlite3.Error as error:
        raise ValueError(f"{file}: no database of trackio ({error})") from None
    if not rows:
        raise ValueError(f"{file}: no run in it yet")
    return [Run(names[identity], as_logged(found), {}) for identity, found in rows.items()]


def _logged(file: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    # Read-only: a training may be writing to it, and a report must not leave a journal behind.
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
        for identity, name, step, metrics in database.execute(QUERY):
            try:
                row = json.loads(metrics)
            except ValueError:
                continue
            yield str(identity), str(name), {"step": step, **row}
