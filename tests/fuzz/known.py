"""Faults of numeric ranges that are mended elsewhere. EMPTY THIS LIST once every numeric field has its range: then it hides nothing."""

from __future__ import annotations

import re
import traceback

RANGES: tuple[str, ...] = ()
"""Patterns of 'file:function: Exception: text' of the innermost frame of this project."""

MACHINE: tuple[str, ...] = (
    r"ImportError: .* needs the package",
    r"ValueError: Default process group has not been initialized",  # trainer.ddp_backend, of a process that launch starts
)
"""The same of what depends on the machine, and which no recipe can know."""


def excused(error: BaseException) -> bool:
    return any(re.search(pattern, described(error)) for pattern in (*RANGES, *MACHINE))


def described(error: BaseException) -> str:
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "/entropostat/" in f.filename or "/trl/" in f.filename
    ]
    place = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{place.filename.rpartition('/')[2]}:{place.name}: {type(error).__name__}: {error}"
