"""A recipe file and the files that it extends, merged into one tree of values."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from entropostat.recipe.errors import Origin, display, fail, real, show
from entropostat.recipe.merge import merge
from entropostat.recipe.overrides import override
from entropostat.recipe.source import Value, read
from entropostat.yaml_text import Room

PACKAGED = "entropostat:"
"""``entropostat:base/grpo.yaml`` is a recipe that comes with the package."""

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


FILES = 100
"""That one recipe extends, each counted as often as it is named."""


def locate(name: str, folder: Path | None = None) -> Path:
    """The file that a recipe's name stands for; relative names start at ``folder``."""
    if name.startswith(PACKAGED):
        return RECIPES / name[len(PACKAGED) :]
    return (folder or Path()) / Path(os.path.expanduser(name))


def resolve(path: Path, overrides: Iterable[str] = ()) -> Value:
    """The whole recipe: parents first, then the file, then the command line. Later ones win."""
    room = Room()
    value = _Files(room).merged(path, ())
    for text in overrides:
        value = merge(value, override(text, room))
    return value


class _Files:
    """What one recipe extends, each file read once, however many name it."""

    def __init__(self, room: Room) -> None:
        self.room, self.named = room, 0
        self.known: dict[Path, Value] = {}

    def merged(self, path: Path, below: tuple[Path, ...]) -> Value:
        """The file with its parents. ``below``: the chain of files that led here, to find cycles."""
        if real(path) in self.known:
            return self.known[real(path)]
        value = read(path, self.room)
        assert isinstance(value.content, dict)
        own = {key: item for key, item in value.content.items() if key != "extends"}
        chain = (*below, real(path))
        merged = Value({}, Origin(display(path)))
        for name, origin in _parents(value):
            self.count(origin)
            parent = locate(name, path.parent)
            if real(parent) in chain:
                start = chain.index(real(parent))
                loop = " -> ".join(display(p) for p in (*chain[start:], real(parent)))
                raise fail(origin, "extends", f"goes round in a circle: {loop}")
            if not os.path.exists(parent):
                raise fail(origin, "extends", f"there is no file {show(name)} ({display(parent)})")
            merged = merge(merged, self.merged(parent, chain))
        self.known[real(path)] = merge(merged, Value(own, Origin(display(path))))
        return self.known[real(path)]

    def count(self, origin: Origin) -> None:
        self.named += 1
        if self.named > FILES:
            raise fail(origin, "extends", f"names more than {FILES} files in all; put what they say into fewer")


def _parents(value: Value) -> list[tuple[str, Origin]]:
    assert isinstance(value.content, dict)
    given = value.content.get("extends")
    if given is None or given.content is None:
        return []
    names = given.content if isinstance(given.content, list) else [given]
    for name in names:
        if not isinstance(name.content, str) or not name.content:
            raise fail(name.origin, "extends", f"must be a file name or a list of them, not {show(name.plain)}")
    return [(str(name.content), name.origin) for name in names]
