"""The bytes of a file, unpacked where it is packed: told by how it begins, not by its name. Bounded: a few bytes may unpack to many."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from entropostat.data.example import DataError
from entropostat.regular import opened

LONGEST = 64 << 20
"""Bytes of a line, and of one object in a list: a row with its solution and its tests has a few thousand."""
RATIO, FREE = 200, 1 << 30
"""A file may unpack to so many times its size, or to so many bytes: text shrinks to a tenth, rarely to a fiftieth."""

MAGIC = {
    b"\x1f\x8b": "gz",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf": "7z",
    b"\x04\x22\x4d\x18": "lz4",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"version https://git-lfs": "lfs",
}
SUFFIXES = ("gz", "bz2", "xz", "zst")
"""Forms that are unpacked, by the ending of a name."""
WRONG = {
    "zip": "is a zip archive; unpack it, and name what was in it",
    "7z": "is a 7z archive; unpack it, and name what was in it",
    "lz4": "is packed as lz4, which is not read; unpack it, or pack it as gz, bz2, xz or zst",
    "parquet": "is a parquet file; set format: parquet",
    "arrow": "is an Arrow file; set format: arrow",
    "UTF-16": "is UTF-16 and no UTF-8; save the file as that",
    "lfs": "is a pointer of Git LFS to a file that is not here; run `git lfs pull` where it lies",
}


def magic(start: bytes) -> str | None:
    return next((name for begin, name in MAGIC.items() if start.startswith(begin)), None)


def unpacked(file: Path) -> io.BufferedReader:
    """Raises DataError, also while it is read."""
    try:
        stream = opened(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{error}; set path to an existing file") from None
    try:
        start = stream.read(32)
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        form = magic(start)
        ending = file.suffix[1:].lower()
        if form in WRONG:
            raise DataError(f"{file} {WRONG[form]}")
        if ending in SUFFIXES and form != ending and size:
            raise DataError(f"{file} is no {ending} file, though its name ends in that; rename it, or pack it again")
        inner: Any = stream if form is None else _inner(form, stream, file)
    except BaseException:
        stream.close()
        raise
    most = None if form is None else max(FREE, RATIO * size)
    return io.BufferedReader(_Bounded(inner, stream, file, most), 1 << 18)


def _inner(form: str, stream: BinaryIO, file: Path) -> Any:
    if form == "zst":
        import pyarrow as pa  # type: ignore[import-untyped]

        if not pa.Codec.is_available("zstd"):
            raise DataError(
                f"{file} is packed as zst, which this pyarrow cannot read; unpack it, or pack it as gz, bz2 or xz"
            )
        return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
    if form == "gz":
        return gzip.GzipFile(fileobj=stream)
    return bz2.BZ2File(stream) if form == "bz2" else lzma.LZMAFile(stream)


class _Bounded(io.RawIOBase):
    def __init__(self, inner: Any, stream: BinaryIO, file: Path, most: int | None) -> None:
        self.inner, self.stream, self.file, self.most, self.given = inner, stream, file, most, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.inner.read(len(buffer))
        except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise DataError(f"{self.file} is damaged, or not whole ({error}); get it again") from None
        self.given += len(data)
        if self.most is not None and self.given > self.most:
            raise DataError(
                f"{self.file} unpacks to more than {self.most} bytes, {RATIO} times its size; unpack it yourself if it is meant so"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self.stream.close()
        super().close()


def lines(stream: io.BufferedReader, file: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text with its end) of each. The mark of byte order at the start is left out."""
    number = 0
    while line := stream.readline(LONGEST + 1):
        number += 1
        where = f"{file}, line {number}"
        if len(line) > LONGEST:
            raise DataError(f"{where}: longer than {LONGEST} bytes; a row holds texts, one line each")
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: no UTF-8 ({error.reason}); save the file as that") from None
