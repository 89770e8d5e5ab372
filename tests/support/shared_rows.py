"""Rows of public data sets that lie beside a checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def rows(name: str) -> list[dict[str, str]]:
    file = DATA / name
    if not file.exists():
        pytest.skip(f"{file.name} is not beside this checkout, in ../shared/data: its rows are not tried")
    return [json.loads(line) for line in file.read_text().splitlines()]
