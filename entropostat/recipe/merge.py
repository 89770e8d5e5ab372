"""Deep merge of a child recipe over its parent, with lists of terms addressed by the name of the term."""

from __future__ import annotations

import re

from entropostat.recipe.errors import COMMAND_LINE, fail, nearest, show
from entropostat.recipe.source import Value
from entropostat.visible import shorten

TERM_LISTS = (
    ("objective", "rewards"),
    ("objective", "advantages"),
    ("objective", "weights"),
    ("objective", "penalties"),
    ("objective", "scalars"),
    ("objective", "data"),
    ("reward",),
)
"""Where a list of one-key mappings is addressed by name."""

Path = tuple[str, ...]

INDEX = re.compile("[0-9]+")
DIGITS = 9
"""A key that addresses an item of a list, and how long it is at most."""


def merge(parent: Value, child: Value, path: Path = ()) -> Value:
    """``child`` over ``parent``. Mappings merge key by key, everything else is replaced.

    A mapping over a list edits it: by term name in the term lists, by index elsewhere.
    """
    if not isinstance(child.content, dict):
        return child
    if path in TERM_LISTS:
        return _edit(parent, child, path)
    if isinstance(parent.content, list) and all(map(INDEX.fullmatch, child.content)):
        return _by_index(parent, child, path)
    if not isinstance(parent.content, dict):
        return _settle(child, path)
    base = _without_alternatives(parent.content, child.content, path)
    merged = dict(base)
    for key, value in child.content.items():
        below = (*path, key)
        merged[key] = merge(base[key], value, below) if key in base else _settle(value, below)
    # What is missing in a mapping is reported at its origin, and it is missing in the file.
    return Value(merged, parent.origin if child.origin.file == COMMAND_LINE else child.origin)


def term_name(item: Value) -> str | None:
    """The name that addresses an item of a term list: its ``name:`` or its kind. None for a malformed item."""
    if not isinstance(item.content, dict) or len(item.content) != 1:
        return None
    (kind, options), *_ = item.content.items()
    if isinstance(options.content, dict) and "name" in options.content:
        given = options.content["name"].content
        return given if isinstance(given, str) else kind
    return kind


def _settle(value: Value, path: Path) -> Value:
    """Resolve edits that have no parent, so that ``+term`` works on a list that is not there yet."""
    if not isinstance(value.content, dict):
        return value
    if path in TERM_LISTS:
        return _edit(Value([], value.origin), value, path)
    return Value({key: _settle(item, (*path, key)) for key, item in value.content.items()}, value.origin)


CHOICES: dict[Path, tuple[str, ...]] = {("model",): ("path", "build", "package")}
"""Keys of which one excludes the others: giving one in a child takes the parent's away."""


def _without_alternatives(parent: dict[str, Value], child: dict[str, Value], path: Path) -> dict[str, Value]:
    """The parent's entries that stay when the child names another alternative of the same choice."""
    if path in CHOICES:
        chosen = [key for key in CHOICES[path] if key in child and child[key].content is not None]
        return {k: v for k, v in parent.items() if not chosen or k in child or k not in CHOICES[path]}
    one_key = path == ("objective", "loss") or path[:-1] in (("data", "sources"), ("evaluate", "sets"))
    controlled = len(path) == 4 and path[0] == "objective"
    if (one_key or controlled) and len(parent) == len(child) == 1 and set(parent) != set(child):
        return {}
    return parent


def _by_index(parent: Value, child: Value, path: Path) -> Value:
    assert isinstance(parent.content, list) and isinstance(child.content, dict)
    items = list(parent.content)
    for key, value in child.content.items():
        if len(key) > DIGITS or int(key) >= len(items):
            where = ".".join((*path, key))
            raise fail(
                value.origin,
                where,
                f"there is no item {key if len(key) <= DIGITS else shorten(key)}; the list has {len(items)}, counted from 0",
            )
        items[int(key)] = merge(items[int(key)], value, (*path, key))
    return Value(items, child.origin)


def _edit(parent: Value, child: Value, path: Path) -> Value:
    """Apply ``edit: {name: options}``, ``+name: options`` and ``-name: null`` to the parent's list."""
    assert isinstance(child.content, dict)
    items = list(parent.content) if isinstance(parent.content, list) else []
    where = ".".join(path)
    for key, value in child.content.items():
        if key == "edit":
            if not isinstance(value.content, dict):
                raise fail(value.origin, f"{where}.edit", "must be a mapping of term names to their changed keys")
            for name, options in value.content.items():
                index = _index(items, name, options, where)
                items[index] = _change(items[index], options, path)
        elif key.startswith("-"):
            if value.content is not None:
                raise fail(value.origin, f"{where}.{key}", f"removing a term takes no options; write '{key}: null'")
            del items[_index(items, key[1:], value, where)]
        elif key.startswith("+"):
            options = Value({}, value.origin) if value.content is None else value
            items.append(Value({key[1:]: options}, value.origin))
        else:
            present = [name for name in map(term_name, items) if name is not None]
            instead = f"'edit: {{{key}: ...}}'" if key in present else f"'+{key}: ...' to add the term"
            raise fail(value.origin, f"{where}.{key}", f"write {instead}, or give a list to replace the parent's")
    return Value(items, child.origin)


def _index(items: list[Value], name: str, at: Value, where: str) -> int:
    names = [term_name(item) for item in items]
    if name not in names:
        present = [n for n in names if n is not None]
        hint = nearest(name, present) if present else "the list is empty"
        add = "" if "did you mean" in hint else f"; add it with {_spelling(name, at, where)}"
        raise fail(at.origin, f"{where}.{name}", f"there is no term {show(name)} here; {hint}{add}")
    return names.index(name)


def _spelling(name: str, at: Value, where: str) -> str:
    return f"'{where}.+{name}={{...}}'" if at.origin.file == COMMAND_LINE else f"'+{name}: {{...}}'"


def _change(item: Value, options: Value, path: Path) -> Value:
    assert isinstance(item.content, dict)
    (kind, old), *_ = item.content.items()
    base = Value({}, old.origin) if old.content is None else old
    changed = merge(base, Value({}, options.origin) if options.content is None else options, (*path, kind))
    return Value({kind: changed}, item.origin)
