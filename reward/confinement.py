"""What a worker process may not do. Everything that the kernel offers is used, and what it does not offer is left out in silence:
text that could be code has been refused before (``harmless``), and this is for what nobody thought of.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading
import time
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

from entropostat.reward.landlock import read_only
from entropostat.reward.syscalls import forbid

KEPT = ("LANG", "LC_ALL", "LC_CTYPE", "OMP_NUM_THREADS", "PYTHONHASHSEED", "TZ")
"""Of the environment. Tokens and paths are in the others."""
MEMORY = 4 << 30
"""Bytes on top of what the libraries take."""
OPEN_FILES = 256
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
SLACK = 5
"""Seconds of processor time on top of a time-out."""


def end_with(trainer: int) -> None:
    """A worker whose trainer is gone has nobody to enforce its time-out. The fork server ends when no process but itself is left
    that holds a pipe to it; with the workers' end closed that is when the trainer does, and they end with the server.
    """
    pipe = getattr(forkserver._forkserver, "_forkserver_alive_fd", None)
    if pipe is not None:
        os.close(pipe)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == 1:  # it was gone before
            os._exit(1)
    else:
        threading.Thread(target=_end_when_gone, args=(trainer,), daemon=True).start()


def _end_when_gone(trainer: int) -> None:
    while True:
        time.sleep(1.0)
        try:
            os.kill(trainer, 0)
        except ProcessLookupError:
            os._exit(1)
        except PermissionError:
            pass


def forget_environment() -> None:
    """Overwritten in place, too: ``/proc/self/environ`` shows the memory that the process began with."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if sys.platform == "linux":
        strings = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
        places: list[int] = []
        while strings and strings[len(places)]:
            places.append(strings[len(places)])
        os.environ.clear()
        for place in places:
            ctypes.memset(place, 0, len(ctypes.string_at(place)))
    os.environ.clear()
    os.environ.update(kept)


def be_silent() -> None:
    """What libraries print about a completion may hold what a terminal obeys."""
    with open(os.devnull, "r+b") as nothing:
        for stream in (0, 1, 2):
            os.dup2(nothing.fileno(), stream)


def seal() -> None:
    """No network, no process, nothing written, nothing read but Python's own files; little memory, few files. After the imports."""
    _leave_tracker()
    _limit()
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        read_only(_python_files())
        forbid()


def allow_processor(seconds: float) -> None:
    """From now on, on all cores: more than the time-out leaves. The kernel ends what goes on, whether or not there is a trainer."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime + seconds * (os.cpu_count() or 1)) + SLACK
    _set(resource.RLIMIT_CPU, limit, hard=False)


def _leave_tracker() -> None:
    """The process that removes what is left of shared memory does so for whoever holds this pipe."""
    tracker = resource_tracker._resource_tracker
    pipe = getattr(tracker, "_fd", None)
    if pipe is not None:
        os.close(pipe)
        tracker._fd = None  # type: ignore[attr-defined]


def _limit() -> None:
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_NPROC, 0)
    _set(resource.RLIMIT_NOFILE, OPEN_FILES)
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _set(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY)


def _set(what: int, limit: int, hard: bool = True) -> None:
    """As far as the system lets us."""
    most = resource.getrlimit(what)[1]
    limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(what, (limit, limit if hard else most))


def _python_files() -> list[Path]:
    """The interpreter, its libraries, and the folders of what is imported from elsewhere."""
    roots = {Path(sys.prefix), Path(sys.base_prefix), Path("/usr"), Path("/lib"), Path("/lib64")}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and not any(Path(file).is_relative_to(root) for root in roots):
            roots.add(Path(file).resolve().parent)
    return sorted(roots)
