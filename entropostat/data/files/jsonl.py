"""One JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entropostat.data.example import DataError
from entropostat.data.files.packed import lines, unpacked
from entropostat.data.json_text import NoJson, loads


def rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with unpacked(file) as stream:
        for number, line in lines(stream, file):
            if line.strip():
                yield f"{file}, line {number}", row(line, f"{file}, line {number}")


def row(line: str, where: str) -> dict[str, Any]:
    try:
        found = loads(line)
    except NoJson as error:
        if error.at is None:
            raise DataError(f"{where}: {error}") from None
        list_ = ", and a list needs format: json" if line.lstrip().startswith("[") else ""
        raise DataError(f"{where}, column {error.at}: {error}; each line must be one object{list_}") from None
    if not isinstance(found, dict):
        raise DataError(
            f'{where}: {type(found).__name__} instead of an object; each line must be like {{"prompt": ...}}, and a list of rows '
            "needs format: json"
        )
    return found
