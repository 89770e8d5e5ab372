"""A folder that the datasets library has saved, looked into without that library, which takes seconds to import."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entropostat.data.example import DataError
from entropostat.data.files import arrow
from entropostat.data.files.reading import ENDINGS
from entropostat.regular import content
from entropostat.rl.spelling import unknown

MOST = 1 << 24
"""Bytes of a file that describes others."""
STATE, SPLITS = "state.json", "dataset_dict.json"
FIX = "save it again by save_to_disk"


def is_saved(folder: Path) -> bool:
    return any(os.path.exists(folder / name) for name in (STATE, SPLITS))


def rows(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """In order. Raises DataError for a folder that is damaged, or has no such split."""
    if not os.path.exists(folder / STATE):
        known = _described(folder / SPLITS).get("splits")
        if not isinstance(known, list) or not all(isinstance(name, str) for name in known):
            raise DataError(f"{folder / SPLITS}: names no splits; {FIX}")
        if split not in known:
            raise DataError(f"{folder}: {unknown('split', split, known)}; set split")
        folder /= split
    files = _described(folder / STATE).get("_data_files")
    if not isinstance(files, list):
        raise DataError(f"{folder / STATE}: names no files; {FIX}")
    for entry in files:
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or Path(name).name != name:
            raise DataError(f"{folder / STATE}: a file of the folder has no name; {FIX}")
        for _, row in arrow.rows(folder / name, "arrow"):
            yield row


def data_file(folder: Path, split: str) -> Path | None:
    """A file of rows of a folder that the datasets library reads file by file, if its name says that it is of that split."""
    if os.path.exists(folder / "README.md"):  # which may say otherwise
        return None
    names = (f"{place}{glob.escape(split)}{rest}" for place in ("", "data/") for rest in (".*", "-*.*"))
    files = (file for name in names for file in sorted(folder.glob(name)))
    return next((file for file in files if file.suffix[1:].lower() in ENDINGS), None)


def _described(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(content(file, MOST))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {error}; {FIX}") from None
    if not isinstance(found, dict):
        raise DataError(f"{file} holds no object; {FIX}")
    return found
