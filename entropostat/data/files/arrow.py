"""Parquet and Arrow files, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from entropostat.data.cells import shown
from entropostat.data.example import DataError
from entropostat.data.files.packed import FREE, RATIO, magic
from entropostat.regular import opened

BATCH = 64
"""Rows in memory at once: one may hold a trace of reasoning, or an image."""
ROWS = 10_000_000
"""Rows that a file may have, or RATIO for each of its bytes: a column of one value shrinks to nothing."""
FIX = "write it again, with a pyarrow that reads it"


def rows(file: Path, form: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """``form`` is parquet or arrow."""
    import pyarrow as pa  # type: ignore[import-untyped]

    size = _checked(file, form)
    number = 0
    try:
        with (
            pa.OSFile(str(file)) as source,
            closing(_parquet(source, size, file) if form == "parquet" else _arrow(source)) as batches,
        ):
            for batch in batches:
                batch.validate(full=True)
                if twice := next((name for name in batch.schema.names if batch.schema.names.count(name) > 1), None):
                    raise DataError(f"{file}: the column {shown(twice)} twice; rename one of them")
                for start in range(0, batch.num_rows, BATCH):
                    for row in batch.slice(start, BATCH).to_pylist():
                        yield f"{file}, row {number}", row
                        number += 1
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, ImportError) as error:
        reason = shown(" ".join(str(error).split()) or type(error).__name__)
        raise DataError(f"{file}: no {form} that can be read after row {number} ({reason}); {FIX}") from None


def _checked(file: Path, form: str) -> int:
    """Its size. Pipes and devices are no files, and a packed one cannot be read from its end."""
    try:
        with opened(file) as stream:
            start, size = stream.read(32), stream.seek(0, 2)
    except (OSError, ValueError) as error:
        raise DataError(f"{error}; set path to an existing file") from None
    if not size:
        raise DataError(f"{file} holds no rows: it is empty; name another file")
    if (found := magic(start)) in ("gz", "bz2", "xz", "zst", "zip", "7z", "lz4", "lfs"):
        raise DataError(f"{file} is {found}, and {form} is packed inside: unpack it; then name what comes out")
    if form == "parquet" and found != "parquet":
        raise DataError(f"{file} is no parquet file; correct its name, or set format")
    return size


def _parquet(source: Any, size: int, file: Path) -> Generator[Any, None, None]:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    table = pq.ParquetFile(source)
    facts = table.metadata
    bytes_ = sum(facts.row_group(index).total_byte_size for index in range(facts.num_row_groups))
    if facts.num_rows > max(ROWS, RATIO * size) or bytes_ > max(FREE, RATIO * size):
        raise DataError(
            f"{file} unpacks to {facts.num_rows} rows, {bytes_} bytes, of {size}: that is {RATIO} times its size; write the part that "
            "is wanted to a file"
        )
    yield from table.iter_batches(batch_size=BATCH)


def _arrow(source: Any) -> Generator[Any, None, None]:
    """A file, or the stream that the datasets library writes."""
    import pyarrow as pa

    if source.read(6) == b"ARROW1":
        table = pa.ipc.open_file(source)
        yield from (table.get_batch(index) for index in range(table.num_record_batches))
    else:
        source.seek(0)
        yield from pa.ipc.open_stream(source)
