"""JSON, one object a line, as a run writes it while someone else reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def json_lines(file: Path) -> list[dict[str, Any]]:
    """The objects of ``file``; none where there is no such file. A line that a kill cut short, anywhere and within any
    character, is passed over.
    """
    if not file.is_file():
        return []
    found = []
    for line in file.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:  # empty, torn, or no UTF-8
            continue
        if isinstance(row, dict):
            found.append(row)
    return found
