"""Does the metric schema know everything that a run has logged?"""

from __future__ import annotations

from pathlib import Path

from entropostat.metrics import find_in, kinds
from entropostat.recipe import load
from support import run_files


def undeclared(folder: Path) -> set[str]:
    """Keys of the run's metrics.jsonl that no file of entropostat/metrics declares."""
    names = kinds(load(folder / "recipe.yaml").resolved["objective"])
    rows = run_files.rows(folder)
    return {key for row in rows for key in row if find_in(key, names) is None}
