"""Does a process still run?"""

from __future__ import annotations

from pathlib import Path


def alive(pid: int) -> bool:
    """A zombie is not: its parent, which may be a container's init that reaps nothing, has not been told yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
