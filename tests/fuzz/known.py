"""Faults that the searches know of: those that are mended elsewhere, and those of the machine."""

from __future__ import annotations

import re
import traceback

# EMPTY THIS once every numeric field has its range and plan knows the conditions below: then the searches hide nothing.
OPEN: tuple[str, ...] = (
    r"ValueError: Default process group has not been initialized",  # trainer.ddp_backend without `launch`
    r"dataloader_prefetch_factor can only be set when",  # without trainer.dataloader_num_workers
)
"""Patterns of 'file:function: Exception: text', the place being the innermost of this project or TRL."""

MACHINE: tuple[str, ...] = (r"ImportError: .* needs the package",)
"""The same of what depends on the machine, and which no recipe can know."""


def excused(error: BaseException) -> bool:
    return any(re.search(pattern, described(error)) for pattern in (*OPEN, *MACHINE))


def described(error: BaseException) -> str:
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "/entropostat/" in f.filename or "/trl/" in f.filename
    ]
    place = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{place.filename.rpartition('/')[2]}:{place.name}: {type(error).__name__}: {error}"
