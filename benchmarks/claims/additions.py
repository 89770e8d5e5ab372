"""A method more in the table, and a claim more to judge: lines of methods.yaml and claims.yaml."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims import methods, verdicts
from benchmarks.claims.tasks import TASKS
from benchmarks.experiment import ROOT

MEASURED = ("success", "final", "best", "mean", "pass@8", "distinct", "kept", "length", "reached")


def add(
    recipe: Path, claim: str = "", metric: str = "success", at_least: float = 0.0, tasks: Sequence[str] = ()
) -> str:
    """The method's name, which is that of the file. Exits where there is no such file, or the name is taken by another one."""
    if not recipe.is_file():
        sys.exit(f"{recipe}: no such recipe; give a YAML file that extends recipes/quickstart/plain.yaml")
    if metric not in MEASURED or not set(tasks) <= TASKS.keys():
        sys.exit(f"--metric is one of {', '.join(MEASURED)}, and --tasks are of {', '.join(TASKS)}")
    name, path = recipe.stem, recipe.resolve()
    said = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
    known = methods.table().get(name)
    if known is None:
        _append(methods.FILE, f"{json.dumps(name)}: {{recipe: {json.dumps(said)}}}")
    elif known.get("recipe") != said and path.parent != methods.RECIPES:
        sys.exit(f"{name}: there is such a row already; give the file another name")
    if claim:
        entry = {
            "method": name,
            "claim": claim,
            "source": said,
            "metric": metric,
            "at_least": at_least,
            "tasks": list(tasks),
        }
        _append(verdicts.FILE, "- " + json.dumps(entry))
    methods.table.cache_clear()
    verdicts.claims.cache_clear()
    return name


def _append(file: Path, line: str) -> None:
    with file.open("a") as stream:
        stream.write(line + "\n")
