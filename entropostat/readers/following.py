"""Rows of a run while it is being written; None where it is time to look at them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from entropostat.readers import OWN, read_all
from entropostat.readers.damage import Damage
from entropostat.readers.lines import LONGEST, parsed
from entropostat.readers.rows import MetricRows, Row
from entropostat.regular import opened

PAUSE = 2.0
"""Seconds between two looks at a file that grows ..."""
TIMES = 20
"""... and at least so many times what a look took: a foreign log is read anew."""


def growing(folder: Path) -> Iterator[Row | None]:
    """Of a run folder of ours. Ends when the run has its summary."""
    file = folder / OWN
    rows, place = MetricRows(Damage(file)), 0  # what was left out at the start has been told
    with opened(file, folder) as stream:
        rest: list[bytes] = []
        while True:
            ended = (folder / "summary.json").is_file()
            while piece := stream.readline(LONGEST):
                rest.append(piece)
                if piece.endswith(b"\n"):
                    place += 1
                    given, _ = parsed(b"".join(rest))
                    row = None if given is None else rows.row(place, given)
                    rest.clear()
                    if row is not None:
                        yield row
            yield None
            if ended:
                return
            time.sleep(PAUSE)


def grown(path: Path) -> Iterator[Row | None]:
    """Of any other log, whose end nothing tells: it never ends. What a row got later comes as a row of its own."""
    known: dict[int, set[str]] = {}
    stamp: object = None
    while True:
        begun = time.monotonic()
        now = _stamp(path)
        if now != stamp:
            stamp = now
            for row in _read(path):
                seen = known.setdefault(row["step"], {"step"})
                if news := {key: value for key, value in row.items() if key not in seen}:
                    seen.update(news)
                    yield {"step": row["step"], **news}
        yield None
        time.sleep(max(PAUSE, TIMES * (time.monotonic() - begun)))


def _read(path: Path) -> list[Row]:
    """None while it is moved or rewritten."""
    try:
        return read_all(path)[0].rows
    except (OSError, ValueError):
        return []


def _stamp(path: Path) -> object:
    """What changes when anything was written."""
    places = [path] if path.is_file() else sorted(path.rglob("*"))[:10_000]
    stamps = []
    for place in places:
        try:
            state = place.stat()
        except OSError:
            continue
        stamps.append((place.name, state.st_mtime_ns, state.st_size))
    return stamps
