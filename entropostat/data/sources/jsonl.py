"""One JSON object a line."""

from __future__ import annotations

import json
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


@SOURCES.register("jsonl", paper="entropostat")
@dataclass(frozen=True)
class Jsonl(Source):
    """A local file with one JSON object a line. A prompt is a text or a list of chat messages."""

    path: str = option(doc="file, relative to the recipe's folder or the working directory")
    prompt: str = option("prompt", doc="column of the prompt")
    answer: str | None = option("answer", doc="column of the reference answer; null where there is none")
    answer_regex: str | None = option(None, doc="the answer is the first group of this pattern in the answer column")
    meta: list[str] = option(factory=list, doc="further columns that the verifier reads")  # noqa: RUF009
    size: int | None = option(None, low=1, doc="only the first so many rows, before `where`")
    where: dict[str, Any] = option(factory=dict, doc=WHERE)  # noqa: RUF009

    def load(self, base: Path | None = None) -> list[Example]:
        return list(self.rows(base))

    def rows(self, base: Path | None = None, dropped: Counter[str] | None = None) -> Iterator[Example]:
        file = self._find(base)
        return chosen(self._parsed(file), self, str(file), "jsonl", dropped)

    def _parsed(self, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        count = 0
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if self.size is not None and count >= self.size:
                    break
                if line.strip():
                    where = f"{file}, line {number}"
                    count += 1
                    yield where, _parse(line, where)
        if not count:
            raise DataError(f"{file} holds no rows: data source jsonl needs at least one JSON object")

    def _find(self, base: Path | None) -> Path:
        tried = [folder / self.path for folder in ([base] if base else []) + [Path.cwd()]]
        for file in tried:
            if os.path.isfile(file):
                return file
        places = " or ".join(str(file) for file in dict.fromkeys(tried))
        raise DataError(f"data source jsonl: no file {places}; set path to an existing file")


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: no UTF-8; save the file as that") from error
    except RecursionError as error:
        raise DataError(f"{where}: nested too deep; a row holds texts, and messages of texts") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}, column {error.colno}: bad JSON ({error.msg}); each line must be one object"
        ) from error
    except ValueError as error:
        raise DataError(f"{where}: a number of more digits than Python reads") from error
    if not isinstance(row, dict):
        raise DataError(f'{where}: {type(row).__name__} instead of an object; each line must be like {{"prompt": ...}}')
    return row
