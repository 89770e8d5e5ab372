"""A file's rows, by the ending of its name or the format that is stated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from entropostat.data.cells import shown
from entropostat.data.example import DataError
from entropostat.data.files import arrow, json_list, jsonl, separated
from entropostat.data.files.packed import SUFFIXES

Format = Literal["auto", "jsonl", "json", "csv", "tsv", "parquet", "arrow"]
FORMATS: tuple[Format, ...] = get_args(Format)
ENDINGS: dict[str, Format] = {
    **dict.fromkeys(("jsonl", "ndjson", "jsonlines"), "jsonl"),
    "json": "json",
    "csv": "csv",
    **dict.fromkeys(("tsv", "tab"), "tsv"),
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    **dict.fromkeys(("arrow", "feather", "ipc"), "arrow"),
}


def rows(file: Path, given: Format = "auto") -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, its cells) of each. Raises DataError, which names the file and the line or row."""
    form = _by_ending(file) if given == "auto" else given
    if form == "jsonl":
        return jsonl.rows(file)
    if form == "json":
        return json_list.rows(file)
    if form in ("csv", "tsv"):
        return separated.rows(file, "," if form == "csv" else "\t")
    return arrow.rows(file, form)


def _by_ending(file: Path) -> Format:
    parts = file.name.lower().split(".")[1:]
    inner = parts[:-1] if parts and parts[-1] in SUFFIXES else parts
    if inner and inner[-1] in ENDINGS:
        return ENDINGS[inner[-1]]
    known = ", ".join(f".{ending}" for ending in ENDINGS)
    packed = ", ".join(f".{ending}" for ending in SUFFIXES)
    raise DataError(
        f"{file}: {shown(file.suffix) if file.suffix else 'no ending'} tells no format of rows; set format, or rename it: {known}, each "
        f"also with {packed} behind"
    )
