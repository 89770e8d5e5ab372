"""A file that is one piece of JSON: a list of rows, or an object with one list of them. Read row by row, so that it may be large.

Files that end in .json and have an object a line are common; they are read as the lines that they are.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from entropostat.data.cells import listed, shown
from entropostat.data.example import DataError
from entropostat.data.files import jsonl
from entropostat.data.files.packed import LONGEST, lines, unpacked
from entropostat.data.json_text import DECODER, DEEP, NoJson, loads, told
from entropostat.data.prompts import is_message

CHUNK = 1 << 16
FIRST = 1 << 22
"""Bytes of a first line that is tried as a row."""
BOM_AND_BLANKS = codecs.BOM_UTF8 + b" \t\r\n"
BLANKS = re.compile(r"[ \t\r\n]*")
SAVE = "save a list of objects, or an object a line: df.to_json(file, orient='records', lines=True)"

Rows = Iterator[tuple[str, dict[str, Any]]]


def rows(file: Path) -> Rows:
    if _by_line(file):
        yield from jsonl.rows(file)
        return
    with unpacked(file) as stream:
        text = _Text(stream, file)
        first = text.peek()
        if first == "[":
            yield from text.rows()
        elif first == "{":
            yield from _of_object(text, file)
        elif first:
            raise DataError(f"{file} begins with {first!r}, which begins no list and no object; {SAVE}")
        if text.peek():
            raise DataError(f"{file}: something follows what it begins with; {SAVE}")


def _by_line(file: Path) -> bool:
    """Whether its first line is an object, and another line follows."""
    with unpacked(file) as stream:
        if stream.peek(1)[:64].lstrip(BOM_AND_BLANKS)[:1] == b"[":
            return False
        begun = stream.readline(FIRST)
        if begun.lstrip(BOM_AND_BLANKS)[:1] != b"{" or not begun.endswith(b"\n"):
            return False
        try:
            whole = isinstance(loads(begun.decode("utf-8-sig")), dict)
        except UnicodeDecodeError:
            return True  # which the lines say with their number
        except NoJson as error:
            whole = not str(error).startswith("bad JSON")
        return whole and any(line.strip() for _, line in lines(stream, file))


def _of_object(text: _Text, file: Path) -> Rows:
    """The rows of its one list; where it has none, it is a row itself."""
    held: dict[str, Any] = {}
    place: str | None = None
    text.take("{")
    while text.peek() != "}":
        key = text.value("a key")
        if not isinstance(key, str) or key in held:
            raise DataError(f"{file}: the key {shown(key)} twice, or no text; correct it")
        text.take(":")
        if text.peek() != "[":
            held[key] = text.value(f"the value of {key!r:.60}")
        elif place is None and text.holds_rows():
            place = key
            held[key] = None
            yield from text.rows()
        else:
            held[key] = value = text.value(f"the value of {key!r:.60}")
            if place is not None and value and isinstance(value[0], dict):
                raise DataError(f"{file}: two lists of objects, {listed([place, key])}; {SAVE}, of one of them")
        if text.peek() != "}":
            text.take(",")
    text.take("}")
    if place is None and held:
        if len(held) > 1 and all(isinstance(value, list | dict) and len(value) > 1 for value in held.values()):
            raise DataError(f"{file}: its columns stand one after the other, {listed(held)}; {SAVE}")
        yield f"{file}, row 0", held


class _Text:
    """Of a stream, decoded as far as it is needed."""

    def __init__(self, stream: BinaryIO, file: Path) -> None:
        self.stream, self.file = stream, file
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.at, self.ended, self.row = "", 0, False, 0
        self.kept: int | None = None
        """Where a reader wants to come back to."""

    def more(self) -> bool:
        """Twice as much each time, so that a long object is not tried over and over."""
        if self.ended:
            return False
        if len(self.text) - self.at > LONGEST:
            raise DataError(f"{self.file}, row {self.row}: longer than {LONGEST} characters; a row holds texts")
        data = self.stream.read(max(CHUNK, len(self.text) - self.at))
        self.ended = not data
        try:
            cut = self.at if self.kept is None else self.kept
            self.text = self.text[cut:] + self.decoder.decode(data, final=self.ended)
        except UnicodeDecodeError as error:
            raise DataError(f"{self.file}, row {self.row}: no UTF-8 ({error.reason}); save the file as that") from None
        self.at -= cut
        self.kept = None if self.kept is None else 0
        return True

    def peek(self) -> str:
        """The next character that is no blank; '' at the end."""
        while True:
            self.at = BLANKS.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self, mark: str) -> None:
        if (found := self.peek()) != mark:
            what = repr(found) if found else "the end of the file"
            raise DataError(f"{self.file}, row {self.row}: bad JSON ({what} instead of {mark!r}); {SAVE}")
        self.at += 1

    def value(self, what: str) -> Any:
        self.peek()
        while True:
            try:
                found, end = DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if self.more():
                    continue
                raise DataError(f"{self.file}, {what}: bad JSON ({error.msg}); {SAVE}") from None
            except ValueError as error:
                raise DataError(f"{self.file}, {what}: {told(error)}") from None
            except RecursionError:
                raise DataError(f"{self.file}, {what}: {DEEP}") from None
            if end < len(self.text) or not self.more():  # a number may go on
                self.at = end
                return found

    def holds_rows(self) -> bool:
        """Whether the list that begins here is one of rows, and not of messages: by its first element."""
        self.kept = self.at
        self.at += 1
        first = self.value("the first element of a list") if self.peek() == "{" else None
        self.at, self.kept = self.kept, None
        return isinstance(first, dict) and not is_message(first)

    def rows(self) -> Rows:
        self.take("[")
        while self.peek() != "]":
            where = f"{self.file}, row {self.row}"
            found = self.value(f"row {self.row}")
            if not isinstance(found, dict):
                raise DataError(f"{where}: {type(found).__name__} instead of an object; {SAVE}")
            yield where, found
            self.row += 1
            if self.peek() != "]":
                self.take(",")
                if self.peek() == "]":
                    raise DataError(f"{where}: a comma after the last row; {SAVE}")
        self.take("]")
