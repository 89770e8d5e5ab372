"""JSON, one object a line, as a run writes it while someone else reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entropostat.readers.damage import Damage
from entropostat.regular import opened

LONGEST = 1 << 26
"""Bytes of one line."""
UTF16 = (b"\xff\xfe", b"\xfe\xff")


def json_lines(file: Path, damage: Damage, within: Path | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of ``file``, in the order of its lines; ``damage`` counts those that are none. A last line without its end
    is one that is being written, or that a kill cut short, and no damage. Raises as ``opened`` does.
    """
    with opened(file, within) as stream:
        left, number = os.fstat(stream.fileno()).st_size, 0  # what is written meanwhile is for the next look
        while left > 0 and (line := stream.readline(min(LONGEST, left))):
            left, number = left - len(line), number + 1
            ended = line.endswith(b"\n")
            while not ended and len(line) == LONGEST and left > 0 and (more := stream.readline(min(LONGEST, left))):
                left, ended = left - len(more), more.endswith(b"\n")
            if len(line) == LONGEST:
                damage.row(number, f"longer than {LONGEST} bytes")
                continue
            row, reason = parsed(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            if row is not None:
                yield number, row
            elif reason and (ended or number == 1):
                damage.row(number, "UTF-16, and not UTF-8" if number == 1 and line[:2] in UTF16 else reason)


def parsed(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """(object, '') or (None, why not); both empty for a line of spaces."""
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        return None, "no UTF-8"
    except RecursionError:
        return None, "nested too deep"
    except ValueError:
        return None, "no JSON" if line.strip() else ""
    return (value, "") if isinstance(value, dict) else (None, "no JSON object")
