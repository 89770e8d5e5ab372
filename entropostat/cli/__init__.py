"""The commands, one file each: ``plan.py`` is `entropostat plan`.

The first sentence of the file is its line in `entropostat --help`, read without importing it. ``add`` declares the arguments, ``run``
does the work. What stands in files without such a line belongs to the others.
"""

from __future__ import annotations

import argparse
import re
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast


class Command(Protocol):
    def add(self, parser: argparse.ArgumentParser) -> None:
        """Arguments; ``arguments.recipe`` for those of a recipe and its overrides."""

    def run(self, args: argparse.Namespace) -> int:
        """The exit code."""


def commands() -> dict[str, str]:
    """Name -> what it does."""
    summaries = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        with file.open(encoding="utf-8") as stream:
            head = re.match(rf'"""``entropostat {file.stem}``: (.+?)(?:\. |\.?"""|\.?$)', stream.readline())
        if head:
            summaries[file.stem] = head[1]
    return summaries


def command(name: str) -> Command:
    return cast(Command, import_module(f"{__name__}.{name}"))
