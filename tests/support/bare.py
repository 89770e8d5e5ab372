"""A machine without what is Linux-only or optional: the packages cannot be found, and what macOS lacks is not there.

python tests/support/bare.py SCRIPT WORDS...    runs a script so
"""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import runpy
import select
import signal
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

ABSENT = frozenset(
    {
        *("deepspeed", "triton", "vllm", "peft", "trackio", "wandb_workspaces", "gguf", "selenium"),
        *("verl", "tensordict", "transfer_queue", "omegaconf", "hydra", "ray"),
        *("bitsandbytes", "liger_kernel", "flash_attn", "kernels", "mpi4py", "hypothesis", "jsonschema"),
    }
)
"""By the name they are imported under."""

LINUX = {
    os: (
        *(
            "sched_getaffinity",
            "sched_setaffinity",
            "memfd_create",
            "pidfd_open",
            "eventfd",
            "posix_fadvise",
            "O_DIRECT",
        ),
        *("copy_file_range", "splice", "posix_fallocate", "fdatasync", "getrandom", "O_TMPFILE", "pipe2"),
    ),
    signal: ("SIGRTMIN", "SIGRTMAX", "sigtimedwait", "sigwaitinfo", "SIGPWR", "SIGSTKFLT", "SIGPOLL"),
    select: ("epoll",),
}
"""What a module of the standard library has under Linux alone."""


def absent(name: str) -> bool:
    return name.partition(".")[0].replace("-", "_").lower() in ABSENT


class Without:
    """The finder of installed packages, which finds none of those: neither their modules nor their metadata."""

    invalidate_caches = PathFinder.invalidate_caches

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return None if absent(name) else PathFinder.find_spec(name, path, target)

    @staticmethod
    def find_distributions(*context: Any) -> Iterable[importlib.metadata.Distribution]:
        distributions = importlib.metadata.MetadataPathFinder.find_distributions(*context)
        return (item for item in distributions if not absent(item.metadata["Name"]))


def strip() -> None:
    """From now on this process runs on such a machine."""
    sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]  # type: ignore[list-item]
    for module, names in LINUX.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    multiprocessing.set_start_method("spawn", force=True)


if __name__ == "__main__":
    strip()
    sys.path[:1] = [str(Path(__file__).parents[1])]
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
