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
from pathlib import Path
from typing import Any

MAGIC, START = b":W&B", 7
BLOCK = 32768
HEAD = struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read(path: Path | str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(type, content) of every record: ``run``, ``config``, ``metric``, ``history``, ``summary``, ``alert``, ``files``, ...

    Of ``history``, ``summary`` and ``config`` the content is their values, nested keys joined by slashes. Raises ValueError for
    a file that is none of wandb's.
    """
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    for data in _records(Path(path)):
        record: Any = Record()
        try:
            record.ParseFromString(data)
        except DecodeError as error:
            raise ValueError(f"{path}: not of the wandb version that is installed ({error})") from error
        kind = record.WhichOneof("record_type")
        if kind is None:
            continue
        content = getattr(record, kind)
        items = {"history": "item", "summary": "update", "config": "update"}.get(kind)
        if items is None:
            yield kind, MessageToDict(content, preserving_proto_field_name=True)
        else:
            yield kind, {_key(item): json.loads(item.value_json) for item in getattr(content, items)}


def history(path: Path | str) -> list[dict[str, Any]]:
    """The logged rows in order, under the keys that wandb shows: ``train/entropy``, ``train/global_step``, ``_step``, ..."""
    return [row for kind, row in read(path) if kind == "history"]


def _key(item: Any) -> str:
    return "/".join(item.nested_key) or str(item.key)


def _records(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError(f"{path}: no wandb file (it begins with {data[:4]!r}, not {MAGIC!r})")
    at, parts = START, b""
    while at + HEAD.size <= len(data):
        left = BLOCK - at % BLOCK
        crc, length, kind = HEAD.unpack_from(data, at)
        if left < HEAD.size or kind == 0:  # the rest of a block, where no chunk fits
            at += left
            continue
        chunk = data[at + HEAD.size : at + HEAD.size + length]
        if len(chunk) < length or zlib.crc32(bytes([kind]) + chunk) != crc:
            return  # torn
        at += HEAD.size + length
        parts = chunk if kind in (WHOLE, FIRST) else parts + chunk
        if kind in (WHOLE, LAST):
            yield parts
