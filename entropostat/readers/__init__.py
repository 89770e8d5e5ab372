"""Runs from wherever they were logged: a run folder, wandb's offline file, trackio's database. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from entropostat.readers.damage import Damage
from entropostat.readers.run_folder import Run
from entropostat.readers.tracked import as_logged
from entropostat.visible import visible

__all__ = ["read", "read_all"]


def read(path: Path) -> Run:
    """The one run at ``path``. Raises FileNotFoundError where there is none, ValueError where there are several."""
    several = read_all(path)
    if len(several) > 1:
        raise ValueError(
            f"{path}: {len(several)} runs there ({', '.join(run.name for run in several[:5])}); one is wanted"
        )
    return several[0]


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
    return [Run.read(path.parent if path.name == "metrics.jsonl" else path)]


def _wandb(file: Path) -> Run:
    from entropostat.readers.wandb_file import history

    damage = Damage(file)
    rows = as_logged(history(file, damage))
    if not rows:
        raise ValueError(f"{file}: no logged row in it")
    folder = file.absolute().parents
    # RUN/wandb/offline-run-.../run-ID.wandb, where `train` wrote it.
    name = folder[2].name if len(folder) > 2 and folder[1].name == "wandb" else file.stem
    return Run(visible(name), rows, {}, damage=damage.lines)
