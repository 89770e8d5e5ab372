"""Runs from wherever they were logged: a run folder, wandb's offline file, trackio's database. Imports no torch."""

from __future__ import annotations

from json import JSONDecodeError
from pathlib import Path

from entropostat.readers.lines import json_lines
from entropostat.readers.run_folder import Run
from entropostat.readers.tracked import as_logged

__all__ = ["json_lines", "read", "read_all"]


def read(path: Path) -> Run:
    """The one run at ``path``. Raises FileNotFoundError where there is none, ValueError where there are several."""
    found = read_all(path)
    if len(found) > 1:
        raise ValueError(f"{path}: {len(found)} runs there ({', '.join(run.name for run in found[:5])}); one is wanted")
    return found[0]


def read_all(path: Path) -> list[Run]:
    """Every run at ``path``: a run folder, its metrics.jsonl, a .wandb file or the folder around it, or a trackio .db,
    which holds all runs of a project. At least one: raises FileNotFoundError or ValueError in one line otherwise.
    """
    if path.suffix == ".db":
        from entropostat.readers.trackio_db import runs

        return runs(path)
    record = path if path.suffix == ".wandb" else next(iter(sorted(path.glob("run-*.wandb"))), None)
    if record is not None:
        return [_wandb(record)]
    folder = path.parent if path.name == "metrics.jsonl" else path
    try:
        return [Run.read(folder)]
    except JSONDecodeError as error:
        raise ValueError(f"{folder / 'run.json'}: no JSON ({error})") from None


def _wandb(file: Path) -> Run:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    from entropostat.readers.wandb_file import history

    rows = as_logged(history(file))
    if not rows:
        raise ValueError(f"{file}: no logged row in it")
    folder = file.absolute().parents
    # RUN/wandb/offline-run-.../run-ID.wandb, where `train` wrote it.
    name = folder[2].name if len(folder) > 2 and folder[1].name == "wandb" else file.stem
    return Run(name, rows, {})
