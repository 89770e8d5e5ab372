"""TensorBoard's event files, without TensorBoard: records framed by a length and two checksums, each a protobuf ``Event``.

    uint64 length, uint32 crc, data, uint32 crc          Event: 2 step, 5 summary;  Summary: 1 value, repeated
    Value: 1 tag, 2 simple_value (float), 8 tensor       Tensor: 1 dtype (1 float, 2 double), 4 content, 5 float_val, 6 double_val

Checksums are not looked at: what was cut short is seen by its length. Scalars alone are read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from entropostat.readers.damage import Damage
from entropostat.readers.foreign import ForeignRows
from entropostat.readers.run_folder import Run
from entropostat.regular import opened

MARK = "tfevents"
HEAD = struct.Struct("<QI")
LONGEST = 1 << 26
"""Bytes of one record."""
DEPTH, MOST = 4, 500
"""Folders below the one that is named, and event files in all."""
FLOAT, DOUBLE = 1, 2


def event_files(folder: Path) -> dict[Path, list[Path]]:
    """Folder -> its event files by name, which begins with the time."""
    places: dict[Path, list[Path]] = {}
    seen = 0
    for place, below, names in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        below[:] = sorted(below) if depth < DEPTH else []
        for name in sorted(names):
            if MARK in name and seen < MOST:
                seen += 1
                places.setdefault(Path(place), []).append(Path(place) / name)
    return places


def runs(path: Path) -> list[Run]:
    """One run a folder. Raises ValueError where none of the files has a scalar."""
    places = {path.parent: [path]} if path.is_file() else event_files(path)
    found, wrong = [], []
    for place, files in places.items():
        damage = Damage(files[-1])
        rows = ForeignRows(damage)
        for file in files:
            for number, (step, tag, value) in enumerate(scalars(file, damage), start=1):
                if step < 0:
                    damage.row(number, "its step is negative")
                else:
                    rows.add({tag: value}, step)
        try:
            found.append(rows.run(_name(place, path)))
        except ValueError as error:
            wrong.append(str(error))
    if not found:
        raise ValueError(wrong[0] if wrong else f"{path}: no event file of TensorBoard")
    return found


def _name(place: Path, path: Path) -> str:
    """The folder's own name, of one below the path that was named with what lies between."""
    top = path if path.is_dir() else place
    inner = place.relative_to(top).as_posix() if place != top else ""
    return f"{top.absolute().name}/{inner}" if inner else top.absolute().name


def scalars(file: Path, damage: Damage) -> Iterator[tuple[int, str, float]]:
    """(step, tag, value) in the order of the file. Its end may be missing, while it is written or after a kill."""
    with opened(file) as stream:
        number = 0
        while len(head := stream.read(HEAD.size)) == HEAD.size:
            number += 1
            length, _ = HEAD.unpack(head)
            if length > LONGEST:
                damage.row(number, "no record of TensorBoard")
                return
            data = stream.read(length + 4)
            if len(data) < length + 4:
                return
            try:
                yield from _event(memoryview(data)[:length])
            except (ValueError, struct.error, IndexError):
                damage.row(number, "no event of TensorBoard")


def _event(data: memoryview) -> Iterator[tuple[int, str, float]]:
    step, summaries = 0, []
    for field, value in _fields(data):
        if field == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >> 63 else value
        elif field == 5 and not isinstance(value, int):
            summaries.append(value)
    for summary in summaries:
        for field, value in _fields(summary):
            if field == 1 and not isinstance(value, int):
                tag, number = _value(value)
                if number is not None:
                    yield step, tag, number


def _value(data: memoryview) -> tuple[str, float | None]:
    tag, number = "", None
    for field, value in _fields(data):
        if isinstance(value, int):
            continue
        if field == 1:
            tag = bytes(value).decode("utf-8", "replace")
        elif field == 2 and len(value) == 4:
            number = float(struct.unpack("<f", value)[0])
        elif field == 8:
            number = _tensor(value)
    return tag, number


def _tensor(data: memoryview) -> float | None:
    """Of a single number; None for a histogram, a text or a picture."""
    kind, raw = 0, memoryview(b"")
    for field, value in _fields(data):
        if field == 1 and isinstance(value, int):
            kind = value
        elif field in (4, 5, 6) and not isinstance(value, int):
            raw = value
    layout = {(FLOAT, 4): "<f", (DOUBLE, 8): "<d"}.get((kind, len(raw)))
    return None if layout is None else float(struct.unpack(layout, raw)[0])


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of a protobuf message: whole numbers, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield field, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        else:
            length = {1: 8, 5: 4}.get(kind, -1)
        if length < 0 or at + length > len(data):
            raise ValueError("no protobuf message")
        yield field, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & ((1 << 64) - 1), at
        shift += 7
        if shift > 63:
            raise ValueError("no protobuf message")
