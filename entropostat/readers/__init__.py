"""Runs from wherever they were logged: our run folders, trackers' files, and the logs of other trainers. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from entropostat.readers.damage import Damage
from entropostat.readers.run_folder import Run
from entropostat.readers.tracked import as_logged
from entropostat.visible import visible

__all__ = ["KINDS", "read", "read_all"]

OWN = "metrics.jsonl"
KINDS = (
    "a run folder of ours; an output folder of transformers or TRL (trainer_state.json); TensorBoard's event files or a folder with "
    "some; wandb's .wandb, or a folder with one; a .csv, as wandb exports it; trackio's .db; a .jsonl with steps (verl's file logger, "
    "ms-swift); a text file of what verl, TRL, ms-swift, OpenRLHF or prime-rl printed"
)
"""What is read, in a sentence."""


def read(path: Path) -> Run:
    """The one run at ``path``. Raises FileNotFoundError where there is none, ValueError where there are several."""
    several = read_all(path)
    if len(several) > 1:
        raise ValueError(
            f"{path}: {len(several)} runs there ({', '.join(run.name for run in several[:5])}); one is wanted"
        )
    return several[0]


def read_all(path: Path) -> list[Run]:
    """Every run at ``path``, at least one: raises FileNotFoundError or ValueError in one line otherwise."""
    return (_folder if path.is_dir() else _file)(path)


def own(path: Path) -> bool:
    """Whether it is a run folder of ours, or the log in one, whatever lies in its place."""
    return path.name == OWN or os.path.lexists(path / OWN)


def _folder(path: Path) -> list[Run]:
    """Ours first, then what holds most of a run's log."""
    from entropostat.readers.trainer_state import states

    if own(path):
        return [Run.read(path)]
    tries: list[tuple[bool, Callable[[], list[Run]]]] = [
        (any(path.glob("run-*.wandb")), lambda: [_wandb(_first(path, "run-*.wandb"))]),
        (bool(states(path)), lambda: [_state(path)]),
        ((path / "logging.jsonl").is_file(), lambda: _file(path / "logging.jsonl")),
        (any(path.glob("wandb/*run-*/run-*.wandb")), lambda: [_wandb(file) for file in _all_wandb(path)]),
        (_events(path), lambda: _tensorboard(path)),
    ]
    for there, reader in tries:
        if there:
            return reader()
    raise FileNotFoundError(f"{path}: no run there; what is read: {KINDS}")


def _file(path: Path) -> list[Run]:
    if path.name == OWN:
        return [Run.read(path.parent)]
    if not path.exists():
        raise FileNotFoundError(f"{path}: no run there (no such file or folder)")
    if path.name == "trainer_state.json":
        return [_state(path.parent)]
    if "tfevents" in path.name:
        return _tensorboard(path)
    return _BY_ENDING.get(path.suffix, _console)(path)


def _first(path: Path, pattern: str) -> Path:
    return min(path.glob(pattern))


def _all_wandb(path: Path) -> list[Path]:
    """One .wandb for each run of a folder's ``wandb/``; ``latest-run`` is a link to one of them."""
    files = {file.resolve(): file for file in path.glob("wandb/*run-*/run-*.wandb")}
    return sorted(files.values())


def _state(folder: Path) -> Run:
    from entropostat.readers.trainer_state import read as state

    return state(folder)


def _events(path: Path) -> bool:
    from entropostat.readers.tensorboard import event_files

    return bool(event_files(path))


def _tensorboard(path: Path) -> list[Run]:
    from entropostat.readers.tensorboard import runs as tensorboard

    return tensorboard(path)


def _lines(file: Path) -> list[Run]:
    from entropostat.readers.other_lines import read as lines

    return [lines(file)]


def _console(file: Path) -> list[Run]:
    from entropostat.readers.console import read as console

    return [console(file)]


def _csv(file: Path) -> list[Run]:
    from entropostat.readers.tables import runs as tables

    return tables(file)


def _trackio(file: Path) -> list[Run]:
    from entropostat.readers.trackio_db import runs as trackio

    return trackio(file)


def _wandb(file: Path) -> Run:
    from entropostat.readers.names import trainer_of
    from entropostat.readers.wandb_file import history

    damage = Damage(file)
    given = history(file, damage)
    rows = as_logged(given)
    if not rows:
        raise ValueError(f"{file}: no logged row in it")
    folder = file.absolute().parents
    # RUN/wandb/offline-run-.../run-ID.wandb, where `train` wrote it.
    name = folder[2].name if len(folder) > 2 and folder[1].name == "wandb" else file.stem
    return Run(visible(name), rows, {}, damage=damage.lines, trainer=trainer_of({key for row in given for key in row}))


_BY_ENDING: dict[str, Callable[[Path], list[Run]]] = {
    ".db": _trackio,
    ".wandb": lambda file: [_wandb(file)],
    ".csv": _csv,
    ".jsonl": _lines,
    ".ndjson": _lines,
}
"""Anything else is text that a trainer printed."""
