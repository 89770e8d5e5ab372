"""Examples -> the table that the trainer reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from entropostat.data.example import Example
from entropostat.data.one_kind import check_one_kind

if TYPE_CHECKING:
    import datasets  # type: ignore[import-untyped]


def to_dataset(examples: Sequence[Example], system: str | None = None, sources: Sequence[str] = ()) -> datasets.Dataset:
    """Columns prompt, answer, meta (JSON), source, id. The reward functions turn the columns into examples again.

    ``sources`` where the examples do not say theirs. An example that occurs again and again, as in a long order of training, is stored once.
    """
    import datasets

    places: dict[tuple[int, str], int] = {}
    unique: list[Example] = []
    order: list[int] = []
    for example, source in zip(examples, sources or [example.source for example in examples], strict=True):
        key = (id(example), source)
        if key not in places:
            places[key] = len(unique)
            unique.append(with_system(example, system))
        order.append(places[key])
    check_one_kind(zip((source for _, source in places), unique, strict=True))
    columns = {
        "prompt": [e.prompt if isinstance(e.prompt, str) else [dict(m) for m in e.prompt] for e in unique],
        "answer": [e.answer for e in unique],
        "meta": [json.dumps(dict(e.meta)) for e in unique],
        "source": [source for _, source in places],
        "id": [e.id for e in unique],
    }
    table = datasets.Dataset.from_dict(columns)
    return table if len(unique) == len(order) else table.select(order)


def with_system(example: Example, system: str | None) -> Example:
    """The prompt as a conversation that begins with ``system``.

    None leaves prompts as the source has them; the empty text makes them conversations without a system message,
    which is what an instruction-tuned model wants that has none. A source that has its own keeps it.
    """
    if system is None or example.settled:
        return example
    messages = [{"role": "user", "content": example.prompt}] if isinstance(example.prompt, str) else example.prompt
    rest = [dict(message) for message in messages if message["role"] != "system" or not system]
    return replace(example, prompt=[{"role": "system", "content": system}, *rest] if system else rest)
