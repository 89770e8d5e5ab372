"""Landlock, by which Linux (5.13 and later) lets a process give up its access to files."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

CREATE, ADD, RESTRICT = 444, 445, 446
"""System calls, alike on all machines."""
ASK_VERSION = 1
BENEATH = 1
READ = (1 << 2) | (1 << 3)
"""Files and lists of folders."""
FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""Every right of a version: executing, reading, writing, making, removing; then moving; then truncating."""
TCP = 3
"""Binding and connecting, since version 4."""
OUTSIDE = 3
"""Abstract sockets and signals to processes that are not confined, since version 6."""


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def read_only(folders: Iterable[Path]) -> bool:
    """Read below ``folders``, and nothing else, for good: also no other process's memory or environment. False where the kernel cannot."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    version = call(CREATE, None, ctypes.c_size_t(0), ASK_VERSION)
    if version < 1:
        return False
    rules = _Ruleset(FILES[min(version, 3)], TCP if version >= 4 else 0, OUTSIDE if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = call(CREATE, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        for folder in folders:
            _allow(call, ruleset, folder)
        return bool(call(RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(call: ctypes._NamedFuncPointer, ruleset: int, folder: Path) -> None:
    try:
        opened = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rule = _Beneath(READ, opened)
    call(ADD, ruleset, BENEATH, ctypes.byref(rule), 0)
    os.close(opened)
