"""The table of prompts: written once (prepare.py), mapped by every process of a machine, read row by row.

A process holds the place of the file and of its order, and none of its rows: what was read is the system's to forget.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from entropostat.data.dropped import Dropped
from entropostat.data.example import Example

if TYPE_CHECKING:
    import datasets  # type: ignore[import-untyped]
    from numpy.typing import NDArray

ROWS, ORDER, FACTS = "prompts.arrow", "order.arrow", "facts.json"
"""Files of a table's folder."""


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


@dataclass(frozen=True)
class Table:
    """A folder that prepare.py has filled. Columns: prompt, answer, meta (JSON), source, id."""

    folder: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.folder / FACTS).read_text())
        return facts

    @cached_property
    def _opened(self) -> dict[str, datasets.Dataset]:
        return {}

    def rows(self, file: str = ROWS) -> datasets.Dataset:
        """All of a file's, as they lie there."""
        import datasets

        if file not in self._opened:
            self._opened[file] = datasets.Dataset.from_file(str(self.folder / file))
        return self._opened[file]

    @cached_property
    def train(self) -> dict[str, Rows]:
        """By source."""
        return self._parts("train")

    @cached_property
    def held_out(self) -> dict[str, Rows]:
        """By source; no prompt text is on both sides, not even across sources."""
        return self._parts("held_out")

    @cached_property
    def sets(self) -> dict[str, Rows]:
        """Those of ``evaluate.sets``."""
        return self._parts("sets")

    @property
    def tests(self) -> dict[str, Rows]:
        """What is evaluated: the held-out side of each source that has one, and the sets."""
        return {**{name: held for name, held in self.held_out.items() if held}, **self.sets}

    @cached_property
    def dropped(self) -> list[Dropped]:
        """One for each source."""
        return [Dropped(**found) for found in self.facts["dropped"]]

    def _parts(self, side: str) -> dict[str, Rows]:
        return {name: Rows(self, file, range(*ends)) for name, (file, *ends) in self.facts[side].items()}

    def write_order(self, places: NDArray[Any]) -> None:
        """``places`` (prompts,) of rows in the order of training."""
        import pyarrow as pa  # type: ignore[import-untyped]

        column = pa.table({"indices": pa.array(places, type=pa.uint64())})
        with pa.OSFile(str(self.folder / ORDER), "wb") as file, pa.ipc.new_stream(file, column.schema) as stream:
            stream.write_table(column)

    def ordered(self) -> datasets.Dataset:
        """The rows in the order of training, a row again and again where the order has it so."""
        import datasets

        return datasets.Dataset.from_file(str(self.folder / ROWS), indices_filename=str(self.folder / ORDER))


class Rows(Sequence[Example]):
    """A stretch of a table as examples, each made when it is asked for."""

    def __init__(self, table: Table, file: str, places: range) -> None:
        self.table, self.file, self.places = table, file, places
        """Where they lie in ``table.rows(file)``."""

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Example | Rows:
        if isinstance(index, slice):
            return Rows(self.table, self.file, self.places[index])
        return example(self.table.rows(self.file)[self.places[index]])

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))


def example(row: dict[str, Any]) -> Example:
    """A row of the table as what it was."""
    prompt = row["prompt"]
    if not isinstance(prompt, str):  # a key that only other messages have is a column of nulls here
        prompt = [{key: value for key, value in message.items() if value is not None} for message in prompt]
    return Example(prompt, row["answer"], json.loads(row["meta"]), row["id"], row["source"])
