"""What the searches pass over: what depends on the machine."""

from __future__ import annotations

import re
import traceback

MACHINE: tuple[str, ...] = (r"ImportError: .* needs the package",)
"""Patterns of 'file:function: Exception: text', the place being the innermost of this project or TRL."""


def excused(error: BaseException) -> bool:
    return any(re.search(pattern, described(error)) for pattern in MACHINE)


def described(error: BaseException) -> str:
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "/entropostat/" in f.filename or "/trl/" in f.filename
    ]
    place = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{place.filename.rpartition('/')[2]}:{place.name}: {type(error).__name__}: {error}"
