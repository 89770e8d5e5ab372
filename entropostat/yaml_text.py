"""YAML text -> nodes and plain values within bounds, and back. YAML 1.2, plain types only, whoever wrote it.

ruamel.yaml calls itself for each level, and aliases let a few lines stand for as many values as one likes: so depth and number
of values are counted while nodes are made, and again where aliases are written out.
"""

from __future__ import annotations

import io
import math
import re
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter

from entropostat.visible import ODD, shorten, visible

LIMIT = 1 << 18
"""Bytes of a recipe with all that it extends. Those of this project have a thousand."""
DEPTH, VALUES = 40, 5_000
"""How deep, and how many values in all, with every alias written out. A value is a mapping, a list, a scalar or a key."""
LARGEST = 2**63
"""Whole numbers are smaller in size: no library takes larger ones."""
LONGEST = 200
"""Digits of a whole number, whatever its base: Python takes the square of their number to read and to print it."""
BEYOND = "is a whole number beyond 64 bits; write a large number as 1e20"
SAID = 200
"""Characters of what the parser says."""
TAG = "tag:yaml.org,2002:"
TEXT = {"str", "timestamp", "merge", "value"}
"""Tags read as text: YAML 1.2 has no dates and no merge keys."""
UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
"""No file name, environment or UTF-8 file can hold them."""
UTF16 = (b"\xff\xfe", b"\xfe\xff")

Scalar = bool | int | float | str | None


class YamlFault(ValueError):
    """Why a text is none, in one line without its place. ``line`` counts from 1; 0 where it is unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        self.line = line
        super().__init__(message)


class Room:
    """What is left of LIMIT and VALUES, over several texts."""

    def __init__(self) -> None:
        self.values, self.characters = VALUES, LIMIT

    def take(self, depth: int, text: str = "") -> None:
        """One value more, ``depth`` levels down. Raises YamlFault where it is one too many."""
        self.values -= 1
        self.characters -= len(text)
        if depth > DEPTH:
            raise YamlFault(f"nested deeper than {DEPTH} levels")
        if self.values < 0 or self.characters < 0:
            what = f"{VALUES} values" if self.values < 0 else f"{LIMIT} characters"
            raise YamlFault(f"holds more than {what}, with all that it extends and every alias written out")


def decoded(raw: bytes) -> str:
    """The text of a file. Raises YamlFault for what is no UTF-8."""
    if raw[:2] in UTF16:
        raise YamlFault("is UTF-16; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlFault("is no UTF-8; save it as UTF-8", raw.count(b"\n", 0, error.start) + 1) from None


@lru_cache(maxsize=64)
def nodes(text: str) -> Node | None:
    """The root of the one document in ``text``; None where it is empty. An alias is the very node that it names. To be read only:
    a sweep reads one recipe many times, and of its texts the newest are kept.

    Raises YamlFault.
    """
    if len(text) > LIMIT:
        raise YamlFault(f"larger than {LIMIT} characters, with all that it extends")
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Bounded
    try:
        return yaml.compose(text)  # type: ignore[no-any-return]
    except YamlFault:
        raise
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise YamlFault(
            f"not valid YAML: {_words(error.problem or error.context or 'cannot be parsed')}", line
        ) from None
    except ReaderError as error:
        shown = f"the character #x{ord(text[error.position]):04x}"
        raise YamlFault(
            f"not valid YAML: {shown} may not stand in it", text.count("\n", 0, error.position) + 1
        ) from None
    except YAMLError as error:
        raise YamlFault(f"not valid YAML: {_words(error)}") from None
    except (ValueError, TypeError, LookupError, AttributeError, AssertionError, OverflowError) as error:
        # Of a character beyond Unicode or a wrong directive it raises whatever its code meets.
        raise YamlFault(f"not valid YAML: {_words(error)}") from None


class _Bounded(Composer):
    """Stops at the first node too many, before anything behind it is read."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader=loader)
        self.warn_double_anchors = False
        self.level, self.room = 0, Room()

    def compose_document(self) -> Any:
        version = self.parser.peek_event().version
        if version is not None and tuple(version) != (1, 2):
            raise YamlFault("a recipe is YAML 1.2; take its %YAML line out", 1)
        return super().compose_document()

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        self.level += 1
        try:
            self.room.take(self.level)
        except YamlFault as fault:
            raise YamlFault(str(fault), event.start_mark.line + 1) from None
        node = super().compose_node(parent, index)
        self.level -= 1
        return node


def scalar(node: ScalarNode) -> Scalar:
    """Its value. Raises YamlFault for what a recipe cannot hold."""
    tag, text = str(node.tag), str(node.value)
    kind = tag.removeprefix(TAG)
    if kind in TEXT:
        return writable(text)
    try:
        if kind == "null":
            return None
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "int":
            return _whole(text.replace("_", ""))
        if kind == "float":
            # float() refuses YAML's .nan, as it should: no key of a recipe means anything by it.
            return _float(text.replace("_", "").lower())
    except OverflowError as error:
        raise YamlFault(f"{shorten(text)} {error}") from None
    except (KeyError, ValueError):
        raise YamlFault(f"{shorten(text)} is not a valid {kind}") from None
    raise YamlFault(f"tag {shorten(tag)} is refused: a recipe holds plain text, numbers, lists and mappings only")


def writable(text: str) -> str:
    """``text`` itself. Raises YamlFault where it holds what cannot be written."""
    match = UNWRITABLE.search(text)
    if match:
        what = "a NUL character" if match[0] == "\0" else "half of a surrogate pair"
        raise YamlFault(f"text may not hold {what}")
    return text


def dump(value: Any) -> str:
    """YAML of plain values that reads as the same values again."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Plain
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 120
    yaml.dump(value, stream)
    return stream.getvalue()


class _Plain(SafeRepresenter):
    """No aliases, and in quotes what a reader of YAML 1.1 or 1.2 would take for the end of a line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: Any) -> Any:
        return self.represent_scalar(f"{TAG}str", data, style='"' if ODD.search(data) else None)


_Plain.add_representer(str, _Plain.represent_str)


def _whole(digits: str) -> int:
    if len(digits) > LONGEST:
        raise OverflowError(BEYOND)
    number = int(digits, 0) if digits.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else int(digits)
    if abs(number) >= LARGEST:
        raise OverflowError(BEYOND)
    return number


def _float(text: str) -> float:
    number = float(text.replace(".inf", "inf"))
    if math.isnan(number):
        raise ValueError
    if math.isinf(number) and "inf" not in text:
        raise OverflowError("is beyond the largest number, 1.8e308")
    return number


def _words(problem: object) -> str:
    return " ".join(visible(" ".join(str(problem).split()))[:SAID].split())
