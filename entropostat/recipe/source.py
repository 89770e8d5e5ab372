"""YAML text -> values that remember where they were written. Parsed by ruamel.yaml, YAML 1.2, plain types only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from entropostat.recipe.errors import Origin, display, fail, show

TAG = "tag:yaml.org,2002:"
TEXT = {"str", "timestamp", "merge", "value"}
"""Tags read as text: YAML 1.2 has no dates and no merge keys."""

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


def read(path: Path) -> Value:
    """The mapping that a recipe file holds."""
    shown = display(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise fail(Origin(shown), "", f"no such file{_close_file(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise fail(Origin(shown), "", f"cannot be read: {error}") from None
    value = parse(text, shown)
    if value.content is None:
        return Value({}, Origin(shown))
    if not isinstance(value.content, dict):
        raise fail(Origin(shown, 1), "", f"a recipe is a mapping of keys, not {show(value.plain)}")
    return value


def parse(text: str, file: str, fixed: Origin | None = None) -> Value:
    """Values of one YAML document. ``fixed`` replaces the lines, for text that comes from no file."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        problem = " ".join(str(error.problem or error.context or "cannot be parsed").split())
        raise fail(fixed or Origin(file, line), "", f"not valid YAML: {problem}") from None
    except YAMLError as error:
        raise fail(fixed or Origin(file), "", f"not valid YAML: {' '.join(str(error).split())}") from None
    if node is None:
        return Value(None, fixed or Origin(file, 1))
    return _convert(node, file, fixed, "", ())


def _convert(node: Node, file: str, fixed: Origin | None, key: str, above: tuple[int, ...]) -> Value:
    origin = fixed or Origin(file, node.start_mark.line + 1)
    if id(node) in above:
        raise fail(origin, key, "an alias may not contain itself")
    above = (*above, id(node))
    if isinstance(node, ScalarNode):
        return Value(_scalar(node, origin, key), origin)
    if isinstance(node, SequenceNode):
        return Value([_convert(n, file, fixed, f"{key}.{i}", above) for i, n in enumerate(node.value)], origin)
    assert isinstance(node, MappingNode)
    entries: dict[str, Value] = {}
    for name_node, value_node in node.value:
        place = fixed or Origin(file, name_node.start_mark.line + 1)
        if not isinstance(name_node, ScalarNode):
            raise fail(place, key, "a key must be a plain word")
        name = str(name_node.value)
        path = f"{key}.{name}" if key else name
        if name in entries:
            raise fail(place, path, f"key {name!r} is given twice; first in line {entries[name].origin.line}")
        entries[name] = Value(_convert(value_node, file, fixed, path, above).content, place)
    return Value(entries, origin)


def _scalar(node: ScalarNode, origin: Origin, key: str) -> bool | int | float | str | None:
    tag, text = str(node.tag), str(node.value)
    kind = tag.removeprefix(TAG)
    if kind in TEXT:
        return text
    try:
        if kind == "null":
            return None
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "int":
            digits = text.replace("_", "")
            return int(digits, 0) if digits.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else int(digits)
        if kind == "float":
            # float() refuses YAML's .nan, as it should: no key of a recipe means anything by it.
            return float(text.replace("_", "").lower().replace(".inf", "inf"))
    except (KeyError, ValueError):
        raise fail(origin, key, f"{text!r} is not a valid {kind}") from None
    raise fail(origin, key, f"tag {tag!r} is refused: a recipe holds plain text, numbers, lists and mappings only")


def _close_file(path: Path) -> str:
    from difflib import get_close_matches

    if not path.parent.is_dir():
        return f" (there is no folder {display(path.parent)})"
    close = get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], 1)
    return f"; did you mean {display(path.parent / close[0])}?" if close else ""
