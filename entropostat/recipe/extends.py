"""A recipe file and the files that it extends, merged into one tree of values."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from entropostat.recipe.errors import Origin, display, fail, show
from entropostat.recipe.merge import merge
from entropostat.recipe.overrides import override
from entropostat.recipe.source import Value, read

PACKAGED = "entropostat:"
"""``entropostat:base/grpo.yaml`` is a recipe that comes with the package."""

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


def locate(name: str, folder: Path | None = None) -> Path:
    """The file that a recipe's name stands for; relative names start at ``folder``."""
    if name.startswith(PACKAGED):
        return RECIPES / name[len(PACKAGED) :]
    return (folder or Path()) / Path(name).expanduser()


def resolve(path: Path, overrides: Iterable[str] = ()) -> Value:
    """The whole recipe: parents first, then the file, then the command line. Later ones win."""
    value = _with_parents(path, ())
    for text in overrides:
        value = merge(value, override(text))
    return value


def _with_parents(path: Path, below: tuple[Path, ...]) -> Value:
    """``below``: the chain of files that led here, to find cycles."""
    value = read(path)
    assert isinstance(value.content, dict)
    own = {key: item for key, item in value.content.items() if key != "extends"}
    chain = (*below, path.resolve())
    merged = Value({}, Origin(display(path)))
    for name, origin in _parents(value):
        parent = locate(name, path.parent)
        if parent.resolve() in chain:
            start = chain.index(parent.resolve())
            loop = " -> ".join(display(p) for p in (*chain[start:], parent.resolve()))
            raise fail(origin, "extends", f"goes round in a circle: {loop}")
        if not parent.is_file():
            raise fail(origin, "extends", f"there is no file {show(name)} ({display(parent)})")
        merged = merge(merged, _with_parents(parent, chain))
    return merge(merged, Value(own, Origin(display(path))))


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
