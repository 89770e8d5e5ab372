"""Local files of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from entropostat.data.cells import listed
from entropostat.data.example import DataError, Example
from entropostat.data.files.found import found
from entropostat.data.files.reading import FORMATS, Format
from entropostat.data.files.reading import rows as rows_of
from entropostat.data.registry import SOURCES
from entropostat.data.table import Row, Table
from entropostat.rl.registry import option

LOOKED_AT = 32
"""Files whose first rows ``plan`` reads."""


@SOURCES.register("file", paper="entropostat")
@dataclass(frozen=True)
class File(Table):
    """Local files with a row for each prompt: jsonl, json (a list, or an object with one), csv, tsv, parquet, arrow, also packed
    as gz, bz2, xz or zst. Several files, or a pattern such as ``data/*.parquet``, are read one after the other, in sorted order.

    verl's GSM8K, for one: ``{file: {path: gsm8k/train.parquet, answer: reward_model.ground_truth}}``.
    """

    path: str | list[str] = option(  # noqa: RUF009
        doc="file, pattern, or a list of them, relative to the recipe's folder or the working directory"
    )
    format: Format = option("auto", choices=FORMATS, doc="of the rows; auto: by the ending of the name")  # noqa: RUF009

    def rows(self, base: Path | None = None, dropped: Counter[str] | None = None) -> Iterator[Example]:
        columns = self._columns(base)  # before a long search for files
        files = found(self.path, base)
        where = listed(map(str, files[:3])) + (", ..." if len(files) > 3 else "")
        return self._examples(self._read(files), columns, where, dropped)

    def check(self, base: Path | None = None) -> Iterator[str]:
        try:
            self._columns(base)
            files = found(self.path, base)
        except DataError as error:
            yield str(error)
            return
        for file in islice(files, LOOKED_AT):
            try:
                self._first(rows_of(file, self.format), base, str(file))
            except DataError as error:
                yield str(error)

    def _read(self, files: list[Path]) -> Iterator[Row]:
        for file in files:
            yield from rows_of(file, self.format)
