"""CSV: what wandb's page exports, several runs in a file, and any table with a column of steps."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from entropostat.readers.damage import Damage
from entropostat.readers.foreign import STEPS, ForeignRows
from entropostat.readers.run_folder import Run
from entropostat.regular import content

LIMIT = 1 << 28
BETWEEN = " - "
"""wandb puts it between the name of a run and its metric."""
RANGES = ("__MIN", "__MAX")
"""What a curve of wandb's page was drawn between: no metrics."""
STEP_NAMES = frozenset(name.lower() for name in STEPS)


def runs(file: Path) -> list[Run]:
    """In the order of their first column. Raises ValueError where no column is of steps, or nothing else is a number."""
    text = content(file, LIMIT).decode("utf-8-sig", "replace")
    csv.field_size_limit(1 << 20)
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        head = next(lines, [])
        clock = _clock(head)
        if clock is None:
            names = ", ".join(sorted(STEPS))
            raise ValueError(f"{file}: no column of steps in it; one of {names} is wanted")
        tables: dict[str, ForeignRows] = {}
        damage = Damage(file)
        columns = [(place, *_named(name)) for place, name in enumerate(head) if place != clock and _wanted(name)]
        for number, line in enumerate(lines, start=2):
            step = _number(line[clock]) if len(line) > clock else None
            if step is None or step < 0 or step != int(step) or step >= 1 << 32:
                damage.row(number, "it has no step")
                continue
            rows: dict[str, dict[str, float | None]] = {}
            for place, run, key in columns:
                if place < len(line) and line[place].strip():
                    rows.setdefault(run, {})[key] = _number(line[place])
            for run, row in rows.items():
                tables.setdefault(run, ForeignRows(damage)).add(_kept(row), int(step))
    except csv.Error as error:
        raise ValueError(f"{file}: no CSV ({error})") from None
    found = [table.run(run or file.stem) for run, table in tables.items() if table.rows]
    if not found:
        raise ValueError(f"{file}: no column of numbers beside the steps")
    return found


def _clock(head: list[str]) -> int | None:
    """The surest column of steps."""
    lower = [name.strip().lower() for name in head]
    ranked = [lower.index(name.lower()) for name in STEPS if name.lower() in lower]
    return ranked[0] if ranked else None


def _wanted(name: str) -> bool:
    return bool(name.strip()) and not name.endswith(RANGES) and name.strip().lower() not in STEP_NAMES


def _named(name: str) -> tuple[str, str]:
    """(run, key); the run's name may itself hold what is between."""
    run, _, key = name.strip().rpartition(BETWEEN)
    return run, key


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _kept(row: dict[str, float | None]) -> dict[str, float]:
    """What is text has no part in the row."""
    return {key: value for key, value in row.items() if value is not None}
