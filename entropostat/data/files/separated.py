"""Cells between commas or tabs, the names of the columns in the first line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from entropostat.data.cells import listed
from entropostat.data.example import DataError
from entropostat.data.files.packed import lines, unpacked

CELL = 1 << 24
"""Characters of a cell."""


def rows(file: Path, separator: str) -> Iterator[tuple[str, dict[str, str]]]:
    csv.field_size_limit(max(CELL, csv.field_size_limit()))
    with unpacked(file) as stream:
        reader = csv.reader((line for _, line in lines(stream, file)), delimiter=separator, strict=True)
        names: list[str] | None = None
        while True:
            where = f"{file}, line {reader.line_num + 1}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(
                    f"{where}: no row of cells ({error}); correct its quotes, or save the file as jsonl"
                ) from None
            if not cells:
                continue
            if names is None:
                names = _header(cells, where)
            elif len(cells) != len(names):
                raise DataError(
                    f"{where}: {len(cells)} cells, and the first line names {len(names)} columns; correct the row"
                )
            else:
                yield where, dict(zip(names, cells, strict=True))


def _header(names: list[str], where: str) -> list[str]:
    names = [name.strip() for name in names]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{where}: the column {twice!r:.60} twice; rename one of them")
    if len(names) == 1 and (other := next((mark for mark in ";\t|" if mark in names[0]), None)):
        fix = "set format: tsv" if other == "\t" else "save the file with commas"
        raise DataError(f"{where}: one column, {listed(names)!r:.80}, in which {other!r} separates; {fix}")
    return names
