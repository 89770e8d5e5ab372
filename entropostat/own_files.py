"""Files of a run folder are opened as themselves: a symbolic link in a folder from elsewhere would lead what a run writes, or
cuts to a length, to any file of the user's.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

NONFINITE = "nonfinite"
"""The only folder in there into which a run goes on to write."""
OTHER = "put the file itself there, or remove it"


def open_own(file: Path, flags: int, mode: int = 0o666) -> int:
    """A descriptor of ``file``, which must be a plain file or new. Raises OSError, which names the file, for anything else."""
    try:
        descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # ENXIO: a pipe that nobody reads
            raise ValueError(f"{file} is a {_kind(file)}, which is not followed: {OTHER}") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{file} is a {_kind(file)}, which is not followed: {OTHER}")
    return descriptor


def check_own(run: Path) -> None:
    """Raises ValueError for a run folder that holds links or devices beside its checkpoints, which are only read and removed."""
    within = [run, run / NONFINITE] if (run / NONFINITE).is_dir() else [run]
    for entry in sorted(entry for folder in within for entry in folder.iterdir()):
        if entry.name.startswith("checkpoint-"):
            continue
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise ValueError(f"{entry} is a {_kind(entry)}, which is not followed: {OTHER}")


def _kind(path: Path) -> str:
    mode = path.lstat().st_mode
    named = {stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFDIR: "folder"}
    return named.get(stat.S_IFMT(mode), "device")
