"""The cell of an answer -> the reference, as a text.

A text, a number or a boolean is written as the row has it. A list of one, also as JSON in a text, is its element; several are
refused or taken for alternatives. Of a whole solution, or of a conversation that ends in one, what a mark tells is the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from entropostat.data.boxes import boxed, marked
from entropostat.data.cells import check_text, listed, plain, shown
from entropostat.data.example import DataError
from entropostat.data.json_text import held
from entropostat.data.prompts import is_conversation, last_said, unfolded

Place = Literal["whole", "boxed", "gsm8k"]
Several = Literal["refuse", "any", "text"]
TAKEN = {"boxed": (boxed, "no closed \\boxed{...}"), "gsm8k": (marked, "no ####")}


def references(
    value: Any, name: str, where: str, pattern: str | None, place: Place, several: Several
) -> tuple[str, ...] | None:
    """All that count as right, the first of them the reference; None where the row has none. Raises DataError."""
    if value is None:
        return None
    found = _elements(value, name, where, several)
    return tuple(dict.fromkeys(check_text(_taken(one, name, where, pattern, place), name, where) for one in found))


def _elements(value: Any, name: str, where: str, several: Several) -> list[str]:
    turns = unfolded(value)
    if is_conversation(turns):
        return [last_said(turns, name, where)]
    elements = _texts(value) if isinstance(value, str) and several != "text" else value
    if not isinstance(elements, list):
        return [_text(elements, name, where)]
    if not elements:
        raise DataError(f"{where}: {name} is an empty list; leave such rows out, or write null")
    if len(elements) > 1 and several != "any":
        raise DataError(
            f"{where}: {name} has {len(elements)} elements, {shown(value)}; set answer_list: any if each of them is right, or "
            f"name one: {name}.0"
        )
    return [_text(one, name, where) for one in elements]


def _texts(value: str) -> Any:
    """The list that a text is in JSON, if its elements are texts: '[1, 2]' is an interval or a list, and an answer itself."""
    found = held(value)
    return found if isinstance(found, list) and found and all(isinstance(one, str) for one in found) else value


def _text(value: Any, name: str, where: str) -> str:
    try:
        text = plain(value)
    except ValueError as error:
        raise DataError(f"{where}: {name}: {error}; correct it, or write null") from None
    if text is not None:
        return text
    if isinstance(value, Mapping):
        inside = listed(f"{name}.{below}" for below in value)
        raise DataError(f"{where}: {name} is a mapping, {shown(value)}; name one of its own: {inside}")
    raise DataError(f"{where}: {name} is {shown(value)}; an answer is a text, a number or a boolean")


def _taken(answer: str, name: str, where: str, pattern: str | None, place: Place) -> str:
    if place != "whole":
        find, lacks = TAKEN[place]
        found = find(answer)
        if found is None:
            raise DataError(
                f"{where}: {name} has {lacks}: {shown(answer)}; correct answer_from, or leave such rows out"
            )
        answer = found
    return extract(answer, pattern, where)


def extract(answer: str, pattern: str | None, where: str) -> str:
    """The first group of ``pattern`` (the whole match if it has none), or the answer as it is without a pattern."""
    if pattern is None:
        return answer
    match = compiled(pattern).search(answer)
    if match is None:
        raise DataError(f"{where}: answer_regex {pattern!r} is not in the answer {shown(answer)}; correct one of them")
    found = match[1] if match.re.groups else match[0]
    if found is None:
        raise DataError(
            f"{where}: the first group of answer_regex {pattern!r} is not in the answer {shown(answer)}; put it first"
        )
    return str(found).strip()


def compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise DataError(f"answer_regex {pattern!r} is not a regular expression: {error}; correct it") from None
