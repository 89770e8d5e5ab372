"""wandb's offline file ``run-<id>.wandb``, without an account and without wandb's own reader, which it no longer ships.

The file is a header of seven bytes and then LevelDB's log: blocks of 32 KiB that hold chunks ``crc, length, kind``, of which a
record takes one (kind 1) or a first, middle ones and a last (2, 3, 4). A record is a protobuf ``Record``. A run that was killed
ends in the middle of a chunk: what came before it is read.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from entropostat.readers.damage import Damage
from entropostat.regular import content

MAGIC, START = b":W&B", 7
BLOCK = 32768
HEAD = struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
LIMIT = 1 << 32
"""Bytes of a file."""


ITEMS = {"history": "item", "summary": "update", "config": "update"}


def read(path: Path | str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(type, content) of every record: ``run``, ``config``, ``metric``, ``history``, ``summary``, ``alert``, ``files``, ...

    Of ``history``, ``summary`` and ``config`` the content is their values, nested keys joined by slashes. Raises ValueError for
    a file that is none of wandb's.
    """
    protobuf: Any = import_module("google.protobuf.json_format")  # it has no types
    for kind, record in _parsed(Path(path), Damage(Path(path))):
        if kind in ITEMS:
            yield kind, {_key(item): json.loads(item.value_json) for item in getattr(record, ITEMS[kind])}
        else:
            yield kind, protobuf.MessageToDict(record, preserving_proto_field_name=True)


def history(path: Path | str, damage: Damage | None = None) -> list[dict[str, Any]]:
    """The logged rows in order, under the keys that wandb shows: ``train/entropy``, ``train/global_step``, ``_step``, ...

    A value that is no JSON is left out. Raises as ``read`` does.
    """
    damage = Damage(Path(path)) if damage is None else damage
    rows: list[dict[str, Any]] = []
    for kind, record in _parsed(Path(path), damage):
        if kind == "history":
            row = {}
            for item in record.item:
                try:
                    row[_key(item)] = json.loads(item.value_json)
                except (ValueError, RecursionError):
                    damage.value(len(rows) + 1, _key(item), "no JSON")
            rows.append(row)
    return rows


def _key(item: Any) -> str:
    return "/".join(item.nested_key) or str(item.key)


def _parsed(path: Path, damage: Damage) -> Iterator[tuple[str, Any]]:
    """(type, message)."""
    wandb: Any = import_module("wandb.proto.wandb_internal_pb2")  # neither of these has types
    failed: Any = import_module("google.protobuf.message").DecodeError
    for data in _records(path, damage):
        record = wandb.Record()
        try:
            record.ParseFromString(data)
        except failed as error:
            raise ValueError(f"{path}: not of the wandb version that is installed ({error})") from None
        kind = record.WhichOneof("record_type")
        if kind is not None:
            yield kind, getattr(record, kind)


def _records(path: Path, damage: Damage) -> Iterator[bytes]:
    """What is behind a damaged chunk is read again from the next block on, as LevelDB does."""
    data = content(path, LIMIT)
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError(f"{path}: no wandb file (it begins with {data[:4]!r}, not {MAGIC!r})")
    at, torn, count = START, 0, 0
    parts: list[bytes] = []
    while at + HEAD.size <= len(data):
        left = BLOCK - at % BLOCK
        crc, length, kind = HEAD.unpack_from(data, at)
        if left < HEAD.size or kind == 0:  # the rest of a block, where no chunk fits
            at += left
            continue
        chunk = data[at + HEAD.size : at + HEAD.size + length]
        if len(chunk) < length or zlib.crc32(bytes([kind]) + chunk) != crc:
            torn, at, parts = torn or at, at + left, []
            continue
        at += HEAD.size + length
        if kind in (WHOLE, FIRST):
            parts = []
        elif not parts:  # the middle of a record whose beginning was damaged
            continue
        parts.append(chunk)
        if kind in (WHOLE, LAST):
            count += 1
            if torn:  # at the end of a file it is what a kill cut short
                damage.row(count, f"the chunk at byte {torn} is damaged; its block is left out")
                torn = 0
            yield b"".join(parts)
            parts = []
