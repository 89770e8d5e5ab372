"""The folder that a run writes into: a new one, or the one that it goes on in. Either is locked first."""

from __future__ import annotations

from pathlib import Path

from entropostat.lock import LOCK, Busy, Lock
from entropostat.own_files import check_own


def new_run_folder(wanted: Path, lock: Lock) -> Path:
    """``wanted``, or ``wanted-2``, ``-3``, ... where a run already lies or begins: no run is ever written over."""
    folder, number = wanted, 2
    while not _begun(folder, lock):
        folder, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return folder


def go_on_in(checkpoint: Path, lock: Lock) -> None:
    """Raises where another process trains there, or where what the run would write to leads elsewhere."""
    run = checkpoint.parent
    lock.take(run)
    check_own(run)
    if not checkpoint.is_dir():
        raise FileNotFoundError(f"{checkpoint}: the process that trained here until now has removed it; start again")


def _begun(folder: Path, lock: Lock) -> bool:
    """Whether ``folder`` was free and is now this process's."""
    if folder.exists() and any(folder.iterdir()):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock.take(folder)
    except Busy:
        return False
    if any(entry.name != LOCK for entry in folder.iterdir()):  # another began and ended between the two
        lock.release()
        return False
    return True
