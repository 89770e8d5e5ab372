"""What the trainer gives a reward function beside completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from entropostat.data.example import Example
from support.tables import table


def columns_of(examples: Sequence[Example], system: str | None = None) -> dict[str, list[Any]]:
    """Prompts and the columns of the trainer's table; a source is that of its examples."""
    sources = {
        source: [one for one in examples if one.source == source] for source in {one.source: 0 for one in examples}
    }
    made = table(sources, system=system).rows().to_list()
    left = {source: [row for row in made if row["source"] == source] for source in sources}
    rows = [left[one.source].pop(0) for one in examples]
    return {("prompts" if key == "prompt" else key): [row[key] for row in rows] for key in rows[0]}
