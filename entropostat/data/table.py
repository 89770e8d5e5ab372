"""What sources of rows have in common: the options that say what is in which column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from entropostat.data import answers, chat_template, template
from entropostat.data.example import DataError, Example
from entropostat.data.notes import Notes
from entropostat.data.registry import Source
from entropostat.data.rows import Columns, to_example
from entropostat.data.where import WHERE, Where
from entropostat.rl.registry import option

Row = tuple[str, Mapping[str, Any]]
"""Where it stands, such as 'data.jsonl, line 3', and its cells."""
FIRST = 8
"""Rows of a file that ``plan`` looks at."""


@dataclass(frozen=True)
class Table(Source):
    """Rows of columns."""

    path: str | list[str] = option(doc="where the rows are")  # noqa: RUF009
    prompt: str = option("prompt", doc="column of the prompt; a dotted name reaches into it: extra_info.question")
    answer: str | None = option("answer", doc="column of the reference answer; null where there is none")
    answer_regex: str | None = option(None, doc="the answer is the first group of this pattern in the answer column")
    answer_from: answers.Place = option(  # noqa: RUF009
        "whole",
        choices=get_args(answers.Place),
        doc="what of the answer column is the answer: all of it, what its last \\boxed{...} holds, or what follows its last ####",
    )
    answer_list: answers.Several = option(  # noqa: RUF009
        "refuse",
        choices=get_args(answers.Several),
        doc="a list of several answers, also as JSON in a text: refuse it, take any of them for right, or leave the text as it is",
    )
    template: str | None = option(
        None,
        doc="the prompt written around columns, instead of one: 'Solve: {question}'; braces of its own are doubled",
    )
    strip_prefix: str | None = option(None, doc="what the prompt column loses at its beginning, where it has it")
    strip_suffix: str | None = option(None, doc="what the prompt column loses at its end, where it has it")
    system: str | None = option(
        None, doc="system prompt of this source, instead of data.system; makes prompts conversational"
    )
    chat_template: str | None = option(
        None, doc="Jinja chat template of this source, or its file: prompts are rendered to text; null: the model's own"
    )
    meta: list[str] = option(factory=list, doc="further columns that the verifier reads")  # noqa: RUF009
    size: int | None = option(None, low=1, doc="only the first so many rows, before `where`")
    where: dict[str, Any] = option(factory=dict, doc=WHERE)  # noqa: RUF009

    def _columns(self, base: Path | None) -> Columns:
        """The same with what is read once. Raises DataError for an option that no row could follow."""
        if self.template is not None:
            template.parsed(self.template)
        if self.answer_regex is not None:
            answers.compiled(self.answer_regex)
        given = None if self.chat_template is None else chat_template.read(self.chat_template, base)
        if given is not None:
            chat_template.rendered([{"role": "user", "content": "1 + 1?"}], given)
        return Columns(
            self.prompt, self.answer, self.answer_regex, self.answer_from, self.answer_list, self.template,
            self.strip_prefix, self.strip_suffix, self.system, given, tuple(self.meta),
        )  # fmt: skip

    def load(self, base: Path | None = None) -> list[Example]:
        return list(self.rows(base))

    def _examples(
        self, rows: Iterable[Row], columns: Columns, place: str, dropped: Counter[str] | None = None
    ) -> Iterator[Example]:
        """Of the first ``size`` rows those that ``where`` takes, all being there. Says what was done to them."""
        notes, count, where = Notes(), 0, Where(self.where)
        for here, row in rows:
            if where.takes(row):
                yield to_example(row, columns, here, count, notes)
            count += 1
            if count == self.size:
                break
        if not count:
            raise DataError(f"{place} holds no rows: a source needs at least one; name another, or a larger slice")
        where.check(place)
        columns.check_stripped(notes, place)
        notes.say(place, count)
        if dropped is not None:
            dropped["where"] += where.dropped

    def _first(self, rows: Iterator[Row], base: Path | None, where: str) -> None:
        """Raises DataError for what is wrong with the first rows."""
        columns, notes, seen, chosen = self._columns(base), Notes(), 0, Where(self.where)
        for place, row in rows:
            if chosen.takes(row):
                to_example(row, columns, place, seen, notes)
            seen += 1
            if seen >= min(FIRST, self.size or FIRST):
                break
        if not seen:
            raise DataError(f"{where} holds no rows: a source needs at least one; name another")
