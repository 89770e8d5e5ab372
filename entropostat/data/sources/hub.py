"""Hugging Face datasets, from the Hub or a local folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from entropostat.data.example import DataError, Example
from entropostat.data.files import saved
from entropostat.data.files.reading import rows as rows_of
from entropostat.data.registry import SOURCES
from entropostat.data.table import Row, Table
from entropostat.rl.registry import option


@SOURCES.register("hub", paper="entropostat")
@dataclass(frozen=True)
class Hub(Table):
    """A split of a Hugging Face dataset: a name on the Hub, a folder of data files, or a folder from ``save_to_disk``.

    GSM8K, for one: ``{hub: {path: openai/gsm8k, name: main, prompt: question, answer_regex: "#### (.+)"}}``.
    """

    path: str = option(doc="name on the Hub or local folder")
    name: str | None = option(None, doc="configuration of the dataset")
    split: str = option("train", doc="split, slices allowed: train[:100]")
    revision: str | None = option(None, doc="commit or tag on the Hub")

    def rows(self, base: Path | None = None, dropped: Counter[str] | None = None) -> Iterator[Example]:
        import datasets  # type: ignore[import-untyped]

        columns, local = self._columns(base), self._local(base)
        try:
            if local is not None and saved.is_saved(local):
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
        where = self._where
        rows: Iterator[Row] = ((f"{where}, row {i}", row) for i, row in enumerate(table))
        return self._examples(rows, columns, where, dropped)

    def check(self, base: Path | None = None) -> Iterator[str]:
        """The first rows of a local folder; of a name on the Hub nothing."""
        try:
            self._columns(base)
            local = self._local(base)
            if local is not None and saved.is_saved(local):
                rows = saved.rows(local, self.split)
                self._first(((f"{self._where}, row {i}", row) for i, row in enumerate(rows)), base, self._where)
            elif (
                local is not None
                and self.name is None
                and (file := saved.data_file(local, self.split.partition("[")[0]))
            ):
                self._first(rows_of(file), base, str(file))
        except DataError as error:
            yield str(error)

    @property
    def _where(self) -> str:
        return f"dataset {self.path!r}, split {self.split!r}"

    def _local(self, base: Path | None) -> Path | None:
        """The folder that ``path`` names, if it names one."""
        given = os.path.expanduser(self.path)
        tried = [(base or Path.cwd()) / given, Path(given)]
        local = next((place for place in tried if os.path.exists(place)), None)
        if local is not None and not os.path.isdir(local):
            raise DataError(
                f"data source hub: {local} is a file; use file: {{path: ...}}, which reads it by its ending"
            )
        if local is None and (os.path.isabs(given) or self.path.startswith(("./", "../", "~"))):
            places = " or ".join(dict.fromkeys(map(str, tried)))
            raise DataError(
                f"data source hub: cannot load path {self.path!r}: no folder {places}; set path to an existing one"
            )
        return local
