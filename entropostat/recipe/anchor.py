"""Relative file names in a recipe start at the folder of the file that states them.

They are made absolute while that file is still known, so that the resolved recipe works from any folder.
"""

from __future__ import annotations

from pathlib import Path

from entropostat.recipe.errors import COMMAND_LINE
from entropostat.recipe.source import Value

FILES = (
    ("model", "path"),
    ("data", "sources", "*", "jsonl", "path"),
    ("data", "sources", "*", "hub", "path"),
    ("evaluate", "sets", "*", "jsonl", "path"),
    ("evaluate", "sets", "*", "hub", "path"),
)
"""Keys that may name a local file or folder. A name that does not exist there stays as it is: a hub id, or a file that
lies in the working directory."""


def anchor(root: Value) -> Value:
    for path in FILES:
        root = _rewrite(root, path)
    return root


def _rewrite(value: Value, path: tuple[str, ...]) -> Value:
    if not path:
        return _absolute(value)
    if not isinstance(value.content, dict):
        return value
    first, *rest = path
    changed = {key: _rewrite(item, tuple(rest)) if first in ("*", key) else item for key, item in value.content.items()}
    return Value(changed, value.origin)


def _absolute(value: Value) -> Value:
    if not isinstance(value.content, str) or value.origin.file == COMMAND_LINE:
        return value
    found = Path(value.origin.file).resolve().parent / value.content
    return Value(str(found), value.origin) if value.content and found.exists() else value
