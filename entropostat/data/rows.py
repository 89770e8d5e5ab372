"""A table's row -> an example; what all sources of rows share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropostat.data import answers, prompts
from entropostat.data.cells import cell, check_text, listed, shown
from entropostat.data.chat_template import rendered
from entropostat.data.dataset import with_system
from entropostat.data.example import ALTERNATIVES, DataError, Example, Prompt, identifier, text_of
from entropostat.data.json_text import DEEP, held
from entropostat.data.notes import Notes
from entropostat.data.template import columns as columns_of
from entropostat.data.template import filled

MEDIA = ("image", "images", "video", "videos", "audio", "audios")
TOOLS = ("tools", "functions", "function")
STRIPPED = "lost what strip_prefix or strip_suffix names"


@dataclass(frozen=True)
class Columns:
    """The options of a source of rows, see ``entropostat.data.table``. ``chat_template`` is the template itself."""

    prompt: str = "prompt"
    answer: str | None = "answer"
    answer_regex: str | None = None
    answer_from: answers.Place = "whole"
    answer_list: answers.Several = "refuse"
    template: str | None = None
    strip_prefix: str | None = None
    strip_suffix: str | None = None
    system: str | None = None
    chat_template: str | None = None
    meta: tuple[str, ...] = ()

    def stripped(self, text: str, notes: Notes) -> str:
        """Without the prefix and the suffix, where it has them."""
        short = text.removeprefix(self.strip_prefix or "").removesuffix(self.strip_suffix or "")
        if short != text:
            notes.add(STRIPPED)
        return short

    def check_stripped(self, notes: Notes, where: str) -> None:
        """Raises DataError for a prefix that no prompt has. Of others it need not be said how many have it."""
        if (self.strip_prefix or self.strip_suffix) and not notes.counts.pop(STRIPPED, 0):
            raise DataError(
                f"{where}: no {self.prompt} begins with strip_prefix {shown(self.strip_prefix)} or ends with strip_suffix "
                f"{shown(self.strip_suffix)}; correct them, or leave them out"
            )


def to_example(row: Mapping[str, Any], columns: Columns, where: str, index: int, notes: Notes) -> Example:
    """``where`` starts every error, e.g. 'data.jsonl, line 3'. Raises DataError."""
    try:
        return _example(row, columns, where, index, notes)
    except RecursionError:
        raise DataError(f"{where}: {DEEP}") from None


def _example(row: Mapping[str, Any], columns: Columns, where: str, index: int, notes: Notes) -> Example:
    asked = _prompt(row, columns, where, notes)
    _check_unread(row, columns, where)
    right = None
    if columns.answer is not None:
        value = cell(row, columns.answer, where)
        rule = (columns.answer_regex, columns.answer_from, columns.answer_list)
        right = answers.references(value, columns.answer, where, *rule)
    meta = {name: cell(row, name, where) for name in columns.meta}
    try:
        json.dumps(meta)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: meta columns must be JSON ({error}); leave the column out of meta") from error
    if right is not None and len(right) > 1:
        meta[ALTERNATIVES] = list(right[1:])
    text = text_of(asked)
    example = Example(asked, right[0] if right else None, meta, identifier("row", text, index))
    return _settled(example, columns, text, where)


def _prompt(row: Mapping[str, Any], columns: Columns, where: str, notes: Notes) -> Prompt:
    if columns.template is not None:

        def value(name: str) -> Any:
            found = cell(row, name, where)
            return columns.stripped(found, notes) if name == columns.prompt and isinstance(found, str) else found

        return prompts.asked(filled(columns.template, value, where), "the template", where)
    value_ = cell(row, columns.prompt, where)
    asked = prompts.prompt(value_, columns.prompt, where, notes)
    if isinstance(asked, str):
        return prompts.asked(columns.stripped(asked, notes), columns.prompt, where)
    last = max(place for place, message in enumerate(asked) if message["role"] == "user")
    short = columns.stripped(asked[last]["content"], notes)
    return [{**message, "content": short} if place == last else message for place, message in enumerate(asked)]


def _settled(example: Example, columns: Columns, text: str, where: str) -> Example:
    """With the system prompt and the chat template that are the source's own."""
    if columns.system is None and columns.chat_template is None:
        return example
    talk = with_system(example, columns.system if columns.system is not None else "")
    prompt: Prompt = talk.prompt
    if columns.chat_template is not None:
        assert not isinstance(prompt, str)
        try:
            prompt = check_text(rendered(prompt, columns.chat_template), "the rendered prompt", where)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    return Example(prompt, example.answer, example.meta, example.id, asked=text, settled=True)


def _check_unread(row: Mapping[str, Any], columns: Columns, where: str) -> None:
    """What changes the question and would not reach the policy: images, and the tools that a row brings."""
    given = [columns.answer or "", *columns.meta, *(columns_of(columns.template) if columns.template else ())]
    named = {name.partition(".")[0] for name in given}
    for name in (*MEDIA, *TOOLS):
        value = row.get(name)
        if not value or name in named:
            continue
        if name in MEDIA:
            raise DataError(f"{where}: has {name}, and prompts are text; leave such rows out, or the column")
        value = held(value) if isinstance(value, str) else value
        if isinstance(value, Mapping) or (isinstance(value, list) and value and isinstance(value[0], Mapping)):
            raise DataError(
                f"{where}: has {name}, which a rollout does not take from a row; write them into the prompt by a template, "
                f"such as '{{{name}}}', or leave the column out (there are: {listed(row)})"
            )
