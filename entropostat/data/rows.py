"""A table's row -> an example; what the jsonl and hub sources share."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from entropostat.data.example import DataError, Example, column, identifier, text_of
from entropostat.data.where import Where
from entropostat.visible import shorten


class Columns(Protocol):
    """The options of a source that reads named columns."""

    @property
    def prompt(self) -> str: ...
    @property
    def answer(self) -> str | None: ...
    @property
    def answer_regex(self) -> str | None: ...
    @property
    def meta(self) -> list[str]: ...
    @property
    def where(self) -> dict[str, Any]: ...


WHERE = "only rows whose columns are as given: {level: [4, 5], split: train, score: {min: 0.2, max: 0.8}, answer: {missing: false}}"
"""What the option says of itself."""


def chosen(
    rows: Iterable[tuple[str, Mapping[str, Any]]], columns: Columns, place: str, kind: str, dropped: Counter[str] | None
) -> Iterator[Example]:
    """The examples of (place, row) that ``columns.where`` takes. ``place`` is that of all, for what is wrong with the whole."""
    where = Where(columns.where)
    for index, (here, row) in enumerate(rows):
        if where.takes(row):
            yield to_example(row, columns, here, index, kind)
    where.check(place)
    if dropped is not None:
        dropped["where"] += where.dropped


def to_example(row: Mapping[str, Any], columns: Columns, where: str, index: int, kind: str) -> Example:
    """Pick the columns, check their types. ``where`` starts every error, e.g. 'data.jsonl, line 3'."""
    prompt = column(row, columns.prompt, where)
    chat = isinstance(prompt, list) and prompt and all(_is_message(message) for message in prompt)
    if not isinstance(prompt, str) and not chat:
        raise DataError(
            f"{where}: {columns.prompt} is {shorten(prompt)}; a prompt is a text or a list of messages with role and content, both text"
        )
    answer = None if columns.answer is None else column(row, columns.answer, where)
    if answer is not None:
        answer = extract(str(answer), columns.answer_regex, where)
    meta = {name: column(row, name, where) for name in columns.meta}
    try:
        json.dumps(meta)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{where}: meta columns must be JSON ({error}); leave the column out of meta") from error
    try:
        return Example(prompt=prompt, answer=answer, meta=meta, id=identifier(kind, text_of(prompt), index))
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    except UnicodeEncodeError:
        raise DataError(
            f"{where}: {columns.prompt} holds half of a surrogate pair, which is no text; correct it"
        ) from None


def _is_message(given: object) -> bool:
    return isinstance(given, dict) and all(isinstance(given.get(key), str) for key in ("role", "content"))


def extract(answer: str, pattern: str | None, where: str) -> str:
    """The first group of ``pattern`` (the whole match if it has none), or the answer as it is without a pattern."""
    if pattern is None:
        return answer
    try:
        match = re.search(pattern, answer)
    except re.error as error:
        raise DataError(f"answer_regex {pattern!r} is not a regular expression: {error}") from error
    if match is None:
        raise DataError(f"{where}: answer_regex {pattern!r} is not in the answer {shorten(answer)}")
    return (match[1] if match.re.groups else match[0]).strip()
