"""What the trainer gives a reward function beside completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from entropostat.data.dataset import to_dataset
from entropostat.data.example import Example


def columns_of(examples: Sequence[Example], system: str | None = None) -> dict[str, list[Any]]:
    """Prompts and the columns of the trainer's table."""
    rows = to_dataset(examples, system).to_list()
    return {("prompts" if key == "prompt" else key): [row[key] for row in rows] for key in rows[0]}
