"""What a run has logged, read from its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def step_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of training, without those of evaluation."""
    return [row for row in rows(folder) if "loss" in row]
