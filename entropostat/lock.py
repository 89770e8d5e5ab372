"""One process, or one group of ranks, trains into a run folder at a time.

The lock is the kernel's on ``run.lock``: it ends with the process that holds it, however that ends, and a child closes its copy.
The file is held open for reading: one open for writing would keep its file system from becoming read-only. Of several ranks the
main one holds the lock for all.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
from pathlib import Path

from entropostat.own_files import open_own

LOCK = "run.lock"
NONE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What a file system without locks answers."""


class Busy(RuntimeError):
    """Another process trains into the folder: one line that names it."""


class Lock(contextlib.AbstractContextManager["Lock"]):
    """The lock of a run folder, from ``take`` on."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def take(self, run: Path) -> None:
        """Raises Busy where another process holds it. On a file system without locks it says so and goes on."""
        descriptor = open_own(run / LOCK, os.O_RDONLY | os.O_CREAT)
        try:
            try:
                _exclude(descriptor)
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
                os.close(descriptor)  # NFS wants one that may write
                descriptor = open_own(run / LOCK, os.O_RDWR)
                _exclude(descriptor)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace")
            os.close(descriptor)
            if error.errno in NONE:
                print(f"{run}: its file system has no locks: nothing keeps a second process out", file=sys.stderr)
                return
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            who = "".join(c for c in holder if c.isprintable()) or "another process"
            raise Busy(f"{run}: {who} is training into it; wait for its end, or stop it") from None
        self._descriptor = descriptor
        os.register_at_fork(after_in_child=self.release)
        with os.fdopen(open_own(run / LOCK, os.O_WRONLY | os.O_TRUNC), "w") as stream:
            stream.write(f"process {os.getpid()} on {socket.gethostname()}")

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __exit__(self, *_: object) -> None:
        self.release()


def _exclude(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
