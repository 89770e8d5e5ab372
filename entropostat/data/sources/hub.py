"""Hugging Face datasets, from the Hub or a local folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropostat.data.example import DataError, Example
from entropostat.data.registry import SOURCES, Source
from entropostat.data.rows import WHERE, chosen
from entropostat.rl.registry import option


@SOURCES.register("hub", paper="entropostat")
@dataclass(frozen=True)
class Hub(Source):
    """A split of a Hugging Face dataset: a name on the Hub, a folder of data files, or a folder from ``save_to_disk``.

    GSM8K, for one: ``{hub: {path: openai/gsm8k, name: main, prompt: question, answer_regex: "#### (.+)"}}``.
    """

    path: str = option(doc="name on the Hub or local folder")
    name: str | None = option(None, doc="configuration of the dataset")
    split: str = option("train", doc="split, slices allowed: train[:100]")
    revision: str | None = option(None, doc="commit or tag on the Hub")
    prompt: str = option("prompt", doc="column of the prompt")
    answer: str | None = option("answer", doc="column of the reference answer; null where there is none")
    answer_regex: str | None = option(None, doc="the answer is the first group of this pattern in the answer column")
    meta: list[str] = option(factory=list, doc="further columns that the verifier reads")  # noqa: RUF009
    size: int | None = option(None, low=1, doc="only the first so many rows, before `where`")
    where: dict[str, Any] = option(factory=dict, doc=WHERE)  # noqa: RUF009

    def load(self, base: Path | None = None) -> list[Example]:
        return list(self.rows(base))

    def rows(self, base: Path | None = None, dropped: Counter[str] | None = None) -> Iterator[Example]:
        import datasets  # type: ignore[import-untyped]

        local = next((f for f in [(base or Path.cwd()) / self.path, Path(self.path)] if os.path.exists(f)), None)
        try:
            if local is not None and any((local / name).exists() for name in ("state.json", "dataset_dict.json")):
                table = datasets.load_from_disk(str(local))
                table = table[self.split] if isinstance(table, datasets.DatasetDict) else table
            else:
                path = self.path if local is None else str(local)
                table = datasets.load_dataset(path, self.name, split=self.split, revision=self.revision)
        except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if local is None and isinstance(error, ConnectionError):
                get = f"hf download --repo-type dataset {self.path}"
                reason += (
                    f"; run `{get}` where there is a network, then set path to its folder, or HF_HOME to its cache"
                )
            raise DataError(
                f"data source hub: cannot load path {self.path!r} (name {self.name!r}, split {self.split!r}): {reason}"
            ) from error
        where = f"dataset {self.path!r}, split {self.split!r}"
        rows = table if self.size is None else table.select(range(min(self.size, len(table))))
        if not len(rows):
            raise DataError(f"{where} is empty: choose another split or a larger slice")
        yield from chosen(((f"{where}, row {i}", row) for i, row in enumerate(rows)), self, where, "hub", dropped)
