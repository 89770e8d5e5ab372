"""YAML text -> values that remember where they were written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from entropostat.recipe.errors import Origin, display, fail, show
from entropostat.regular import content
from entropostat.yaml_text import LIMIT, Room, YamlFault, decoded, nodes, scalar, writable

Content = Union[dict[str, "Value"], list["Value"], bool, int, float, str, None]  # noqa: UP007  (evaluated at run time)


@dataclass(frozen=True)
class Value:
    """A YAML value and where it was written (for a mapping's entry: the line of its key)."""

    content: Content
    origin: Origin

    @property
    def plain(self) -> Any:
        """The same value as ordinary dicts, lists and scalars."""
        if isinstance(self.content, dict):
            return {key: value.plain for key, value in self.content.items()}
        if isinstance(self.content, list):
            return [value.plain for value in self.content]
        return self.content


def read(path: Path, room: Room | None = None) -> Value:
    """The mapping that a recipe file holds."""
    shown = display(path)
    try:
        text = decoded(content(path, LIMIT))
    except FileNotFoundError:
        raise fail(Origin(shown), "", f"no such file{_close_file(path)}") from None
    except YamlFault as fault:
        raise fail(Origin(shown, fault.line), "", str(fault)) from None
    except ValueError as error:
        raise fail(Origin(shown), "", f"cannot be read: {str(error).removeprefix(f'{path}: ')}") from None
    value = parse(text, shown, room=room)
    if value.content is None:
        return Value({}, Origin(shown))
    if not isinstance(value.content, dict):
        raise fail(Origin(shown, 1), "", f"a recipe is a mapping of keys, not {show(value.plain)}")
    return value


def parse(
    text: str, file: str, fixed: Origin | None = None, room: Room | None = None, at: tuple[str, ...] = ()
) -> Value:
    """Values of one YAML document. ``fixed`` replaces the lines, for text that comes from no file.

    ``room`` is shared by all that one recipe is made of; ``at`` is the key whose value they are.
    """
    try:
        node = nodes(text)
    except YamlFault as fault:
        raise fail(fixed or Origin(file, fault.line), "", str(fault)) from None
    if node is None:
        return Value(None, fixed or Origin(file, 1))
    return _Reading(file, fixed, room or Room()).convert(node, at, len(at) + 1, ())


@dataclass(frozen=True)
class _Reading:
    """Of one document. A key is the path of keys to a value."""

    file: str
    fixed: Origin | None
    room: Room

    def convert(self, node: Node, key: tuple[str, ...], depth: int, above: tuple[int, ...]) -> Value:
        """``above``: the nodes that this one is in, to find an alias of one of them."""
        origin = self.origin(node)
        if id(node) in above:
            raise fail(origin, ".".join(key), "an alias may not contain itself")
        above = (*above, id(node))
        if isinstance(node, ScalarNode):
            with _told(origin, key):
                self.room.take(depth, str(node.value))
                return Value(scalar(node), origin)
        with _told(origin, key):
            self.room.take(depth)
        if isinstance(node, SequenceNode):
            items = enumerate(node.value)
            return Value([self.convert(item, (*key, str(i)), depth + 1, above) for i, item in items], origin)
        assert isinstance(node, MappingNode)
        return Value(self.entries(node, key, depth, above), origin)

    def entries(self, node: MappingNode, key: tuple[str, ...], depth: int, above: tuple[int, ...]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name_node, value_node in node.value:
            place = self.origin(name_node)
            if not isinstance(name_node, ScalarNode):
                raise fail(place, ".".join(key), "a key must be a plain word")
            with _told(place, key):
                name = writable(str(name_node.value))
                self.room.take(depth, name)
            below = (*key, name)
            if name in values:
                message = f"key {show(name)} is given twice; first in line {values[name].origin.line}"
                raise fail(place, ".".join(below), message)
            values[name] = Value(self.convert(value_node, below, depth + 1, above).content, place)
        return values

    def origin(self, node: Node) -> Origin:
        return self.fixed or Origin(self.file, node.start_mark.line + 1)


@contextmanager
def _told(origin: Origin, key: tuple[str, ...]) -> Iterator[None]:
    try:
        yield
    except YamlFault as fault:
        raise fail(origin, ".".join(key), str(fault)) from None


def _close_file(path: Path) -> str:
    from difflib import get_close_matches

    if not os.path.isdir(path.parent):
        return f" (there is no folder {display(path.parent)})"
    close = get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], 1)
    return f"; did you mean {display(path.parent / close[0])}?" if close else ""
