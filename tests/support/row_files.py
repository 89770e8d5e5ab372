"""The same rows in every format and packing that ``file`` reads."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def zst(data: bytes) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zst,
}


def _lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


TEXTS: dict[str, Callable[[Rows], bytes]] = {
    "jsonl": _lines,
    "ndjson": lambda rows: b"\xef\xbb\xbf" + _lines(rows).replace(b"\n", b"\r\n\r\n"),
    "json": lambda rows: json.dumps(list(rows), indent=2).encode(),
    "lines.json": _lines,
    "object.json": lambda rows: json.dumps(
        {"version": "1", "names": ["a", "b"], "data": list(rows), "more": {}}
    ).encode(),
}
"""By the ending of the name."""


def written(folder: Path, rows: Rows) -> dict[str, Path]:
    """A file of each, by its name."""
    files = {}
    for ending, text in TEXTS.items():
        for suffix, pack in PACKERS.items():
            name = f"rows.{ending}{suffix}"
            files[name] = folder / name
            files[name].write_bytes(pack(text(rows)))
    return files | tables(folder, rows)


def tables(folder: Path, rows: Rows) -> dict[str, Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import feather

    table = pa.Table.from_pylist(list(rows))
    files = {name: folder / name for name in ("rows.parquet", "rows.pq", "rows.arrow", "rows.feather", "stream.arrow")}
    pq.write_table(table, files["rows.parquet"], row_group_size=7)
    pq.write_table(table, files["rows.pq"], compression="zstd")
    feather.write_feather(table, files["rows.feather"])
    for name, new in (("rows.arrow", pa.ipc.new_file), ("stream.arrow", pa.ipc.new_stream)):
        with new(str(files[name]), table.schema) as writer:
            writer.write_table(table, max_chunksize=9)
    return files


def separated(file: Path, rows: Rows, delimiter: str = ",") -> Path:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return file
