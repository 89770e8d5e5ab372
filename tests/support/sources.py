"""The examples of a source of prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from entropostat.data.example import Example
from entropostat.data.registry import SOURCES


def load(kind: str, base: Path | None = None, **options: Any) -> list[Example]:
    return SOURCES.build(kind, options).load(base)
