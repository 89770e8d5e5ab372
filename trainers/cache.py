"""Folders that are expensive to make, kept under a hash of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock


def cache_root() -> Path:
    """``$XDG_CACHE_HOME/entropostat``, by default ``~/.cache/entropostat``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "entropostat"


def content_key(parts: Any) -> str:
    """Short hash of a JSON-able description."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def cached(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder ``<cache>/<kind>/<key>``; if it is missing, ``make`` fills an empty one that then takes its place.

    It appears under its name only when complete, so a run that dies leaves nothing half done. Of several processes
    (the ranks of a run) one builds and the others wait. Where locks do not work all build and the first to finish wins.
    """
    final = cache_root() / kind / key
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{final}.lock"):
        if final.is_dir():
            return final
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{key}-") as scratch:
            folder = Path(scratch) / key
            folder.mkdir()
            make(folder)
            try:
                folder.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
    return final
