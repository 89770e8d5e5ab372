"""A filter of system calls (seccomp), by which Linux lets a process give up what it will never need."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from dataclasses import dataclass, field

PR_SET_SECCOMP, FILTER = 22, 2
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of the filter."""
ALLOW, ERROR = 0x7FFF0000, 0x00050000
NUMBER, MACHINE, ARGUMENTS = 0, 4, 16
"""Offsets in what the filter sees."""
CLONE_THREAD = 0x10000
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FOREIGN = 0x40000000
"""Numbers from here on are of another calling convention (x32)."""


@dataclass(frozen=True)
class Machine:
    """The numbers of one architecture."""

    audit: int
    denied: tuple[int, ...]
    """Sockets; programs and processes; tracing; names, modes and owners of files; mounts and namespaces; io_uring, bpf, keys,
    handles: none has a place in judging a text."""
    clone: int
    opens: dict[int, int]
    """Calls that open a file, by the argument with the flags."""
    signals: tuple[int, ...]
    """Calls whose first argument is the process meant."""
    limits: int
    missing: tuple[int, ...] = field(default=(435, 437))
    """clone3 and openat2, whose arguments no filter sees: libraries go on without them."""


COMMON = (424, 425, 426, 427, 434, 438, 452)
"""pidfd_send_signal, io_uring_*, pidfd_open, pidfd_getfd, fchmodat2."""
MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E,
        denied=(
            *(41, 42, 49, 50, 53, 57, 58, 59, 322, 101, 310, 311),
            *(76, 82, 83, 84, 85, 86, 87, 88, 90, 91, 92, 93, 94, 258, 259, 260, 263, 264, 265, 266, 268, 316),
            *(132, 133, 235, 261, 280, 188, 189, 190, 197, 198, 199),
            *(155, 161, 165, 166, 272, 308, 321, 298, 248, 249, 250, 323, 304, 319, 129, 200, 297, 141),
            *COMMON,
        ),
        clone=56,
        opens={2: 1, 257: 2},
        signals=(62, 234),
        limits=302,
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        denied=(
            *(198, 199, 200, 201, 203, 221, 281, 117, 270, 271),
            *(33, 34, 35, 36, 37, 38, 276, 45, 52, 53, 54, 55, 88, 5, 6, 7, 14, 15, 16),
            *(39, 40, 41, 51, 97, 268, 280, 241, 217, 218, 219, 282, 265, 279, 130, 138, 240, 140),
            *COMMON,
        ),
        clone=220,
        opens={56: 2},
        signals=(129, 131),
        limits=261,
    ),
}


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction))]


def forbid() -> bool:
    """For good, for all threads to come. Wants ``no_new_privs``. False where the kernel or the machine is another."""
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return False
    code = [_Instruction(*line) for line in _program(machine, os.getpid())]
    program = _Program(len(code), (_Instruction * len(code))(*code))
    return bool(ctypes.CDLL(None).prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0) == 0)


def _program(machine: Machine, process: int) -> list[tuple[int, int, int, int]]:
    refuse = (RETURN, 0, 0, ERROR | errno.EPERM)
    allow = (RETURN, 0, 0, ALLOW)
    lines = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 1, 0, machine.audit),
        refuse,
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, FOREIGN),
        refuse,
    ]
    for number in machine.denied:
        lines += [(EQUAL, 0, 1, number), refuse]
    for number in machine.missing:
        lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERROR | errno.ENOSYS)]
    lines += [(EQUAL, 0, 4, machine.clone), _argument(0), (ANY_BIT, 0, 1, CLONE_THREAD), allow, refuse]
    for number, flags in machine.opens.items():
        lines += [(EQUAL, 0, 4, number), _argument(flags), (ANY_BIT, 0, 1, WRITING), refuse, allow]
    for number in machine.signals:
        lines += [(EQUAL, 0, 4, number), _argument(0), (EQUAL, 0, 1, process), allow, refuse]
    lines += [(EQUAL, 0, 4, machine.limits), _argument(0), (EQUAL, 0, 1, 0), allow, refuse]
    return [*lines, allow]


def _argument(index: int) -> tuple[int, int, int, int]:
    return (LOAD, 0, 0, ARGUMENTS + 8 * index)
