"""Relative file names in a recipe start at the folder of the file that states them.

They are made absolute while that file is still known, so that the resolved recipe works from any folder.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path

from entropostat.data.example import DataError
from entropostat.data.files.found import matching
from entropostat.recipe.errors import COMMAND_LINE, real
from entropostat.recipe.source import Value

FILES = (
    ("model", "path"),
    ("teacher", "path"),
    *(
        (*place, "*", kind, key)
        for place in (("data", "sources"), ("evaluate", "sets"))
        for kind in ("file", "hub")
        for key in ("path", "chat_template")
    ),
)
"""Keys that may name a local file or folder, a pattern of files, or a list of these. A name that does not exist there stays as it
is: a hub id, or a file that lies in the working directory."""


def anchored(root: Value, folder: Path) -> Value:
    """``folder``: the recipe's own."""
    for path in FILES:
        root = _rewrite(root, path)
    rewards = root.content.get("reward") if isinstance(root.content, dict) else None
    if rewards is None or not isinstance(rewards.content, list):
        return root
    entries = Value([_module(item, folder) for item in rewards.content], rewards.origin)
    return Value({**root.content, "reward": entries}, root.origin)  # type: ignore[dict-item]


def _module(term: Value, folder: Path) -> Value:
    """A verifier of the user's own code says where its module is: beside the file that names it, or beside the recipe."""
    options = term.content.get("function") if isinstance(term.content, dict) else None
    path = options.content.get("path") if options is not None and isinstance(options.content, dict) else None
    if path is None or not isinstance(path.content, str):
        return term
    assert options is not None and isinstance(options.content, dict)
    own, module = options.content.get("folder"), path.content.partition(":")[0].partition(".")[0]
    if own is not None and isinstance(own.content, str):
        places = [_absolute(own).content]
    else:
        stated = [] if path.origin.file == COMMAND_LINE else [real(Path(path.origin.file)).parent]
        places = [str(place) for place in (*stated, folder) if module and _holds(place, module)]
    if not places:
        return term
    return Value(
        {"function": Value({**options.content, "folder": Value(places[0], path.origin)}, options.origin)}, term.origin
    )


def _holds(folder: Path, module: str) -> bool:
    return any(os.path.isfile(folder / name) for name in (f"{module}.py", f"{module}/__init__.py"))


def _rewrite(value: Value, path: tuple[str, ...]) -> Value:
    if not path:
        return _absolute(value)
    if not isinstance(value.content, dict):
        return value
    first, *rest = path
    changed = {key: _rewrite(item, tuple(rest)) if first in ("*", key) else item for key, item in value.content.items()}
    return Value(changed, value.origin)


def _absolute(value: Value) -> Value:
    if isinstance(value.content, list):
        return Value([_absolute(item) for item in value.content], value.origin)
    if not isinstance(value.content, str) or value.origin.file == COMMAND_LINE:
        return value
    return Value(in_folder(value.content, real(Path(value.origin.file)).parent), value.origin)


def in_folder(name: str, folder: Path) -> str:
    """``name`` as a path in ``folder``, if there is such a file or folder, or one that fits a pattern; else as it is."""
    if not name or os.path.isabs(name) or name.startswith("~"):
        return name
    if os.path.exists(folder / name):
        return str(folder / name)
    return os.path.join(glob.escape(str(folder)), name) if _fits(name, folder) else name


def _fits(pattern: str, folder: Path) -> bool:
    if not glob.has_magic(pattern) or "{" in pattern or "\0" in pattern:  # a brace: a chat template itself
        return False
    try:
        return bool(matching(pattern, folder, most=1))
    except DataError:  # still looked for, which the lints say
        return False
