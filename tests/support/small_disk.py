"""A file system of its own, small enough to fill."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, size: object) -> Iterator[Callable[[str], bool]]:
    """Mounted at ``place``; call what it yields with mount options to change them: were they taken?"""
    place.mkdir()
    mount = lambda *words: subprocess.run(["mount", *words, str(place)], capture_output=True, check=False).returncode
    if mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        pytest.skip("only root may mount a file system to fill")
    yield lambda options: mount("-o", f"remount,{options}") == 0
    subprocess.run(["umount", "-l", str(place)], check=True)
