"""What a verifier is called with: one completion after the other, all at once, or a prompt's group at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from entropostat.data.example import Completion, Example
from entropostat.reward.verifier import Verifier

Rows = Sequence[int]


class Call(NamedTuple):
    """One call of a verifier."""

    completions: tuple[Completion, ...]
    examples: tuple[Example, ...]
    rows: tuple[Rows, ...]
    """Of each completion, which of those that were given it stands for."""


def calls_of(
    verifier: Verifier, completions: Sequence[Completion], examples: Sequence[Example], groups: Sequence[Rows]
) -> list[Call]:
    """``groups`` are the rows of each prompt's completions. A verifier of the form trl reads conversations, others their text."""
    given = list(completions) if verifier.calls == "trl" else [content(each) for each in completions]
    if verifier.calls == "single":
        alike = _alike(given, examples) if verifier.repeats else [[row] for row in range(len(given))]
        return [Call((given[rows[0]],), (examples[rows[0]],), (rows,)) for rows in alike]
    together = groups if verifier.calls == "group" else [range(len(given))]
    return [
        Call(tuple(given[row] for row in rows), tuple(examples[row] for row in rows), tuple([row] for row in rows))
        for rows in together
        if rows
    ]


def _alike(texts: Sequence[Any], examples: Sequence[Example]) -> list[list[int]]:
    """The rows that are equal in completion and example, in the order of the first of each."""
    found: dict[tuple[Any, ...], list[list[int]]] = {}
    order: list[list[int]] = []
    for row, (text, example) in enumerate(zip(texts, examples, strict=True)):
        among = found.setdefault((text, example.id, example.answer), [])
        same = next((rows for rows in among if equal(examples[rows[0]], example)), None)
        if same is None:
            among.append(same := [])
            order.append(same)
        same.append(row)
    return order


def equal(one: Example, other: Example) -> bool:
    return one is other or one == other


def runs(examples: Sequence[Example]) -> list[Rows]:
    """Rows that follow each other and ask the same: the groups, where nobody says how large they are."""
    groups: list[list[int]] = []
    for row, example in enumerate(examples):
        if row and equal(examples[row - 1], example):
            groups[-1].append(row)
        else:
            groups.append([row])
    return list(groups)


def content(completion: Completion) -> str:
    """The text that a verifier reads: of a conversation, the last thing that the assistant said."""
    if isinstance(completion, str):
        return completion
    said = [message["content"] for message in completion if message["role"] == "assistant"]
    return said[-1] or "" if said else ""


def examples_of(prompts: Sequence[Any], columns: Mapping[str, Any]) -> list[Example]:
    """Undo the table that a run trains on. Rows that are equal become one example."""
    sources = columns.get("source") or [""] * len(prompts)
    known: dict[tuple[Any, ...], list[Example]] = {}
    examples = []
    for prompt, *rest in zip(prompts, columns["answer"], columns["meta"], columns["id"], sources, strict=True):
        among = known.setdefault(tuple(rest), [])
        example = next((each for each in among if each.prompt == prompt), None)
        if example is None:
            answer, meta, name, source = rest
            example = Example(prompt, answer, json.loads(meta), name, source)
            among.append(example)
        examples.append(example)
    return examples
