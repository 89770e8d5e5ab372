"""What a run leaves behind: recipe.yaml, run.json, metrics, completions and histograms (.jsonl), summary.json, final/."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from entropostat.atomic import sync_path, write_whole
from entropostat.own_files import open_own
from entropostat.readers.damage import Damage
from entropostat.readers.lines import json_lines, parsed
from entropostat.readers.values import whole
from entropostat.trainers.state.memory import Remembering
from entropostat.trainers.watch.monitor_report import Memory
from entropostat.trainers.watch.monitors import Monitors

PACKAGES = ("entropostat", "torch", "trl", "transformers", "accelerate", "deepspeed", "datasets", "vllm", "peft")


def versions() -> dict[str, str | None]:
    """Of the packages that a run depends on; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def write_run_file(folder: Path, facts: Mapping[str, Any]) -> None:
    """run.json: versions, seeds and the machine's shape. Nothing from the environment, which may hold secrets."""
    record = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        **facts,
    }
    write_whole(folder / "run.json", json.dumps(record, indent=2) + "\n")


class RowsFile(Remembering):
    """A file of one JSON object a line, which a checkpoint knows to the byte: a resumed run goes on from there.

    Rows after it belong to steps that will be run again. Subclasses ``append``; each has its own name in the checkpoint.
    A symbolic link is not followed.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.size: int | None = None
        """Bytes of the file when the checkpoint was written from which the run goes on."""

    def append(self, *rows: Mapping[str, Any]) -> None:
        with os.fdopen(open_own(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a") as stream:
            stream.write("".join(json.dumps(row) + "\n" for row in rows))

    def kept(self) -> dict[str, Any]:
        """On the disk up to here, or a power cut could leave less than the checkpoint says."""
        if self.file.exists():
            sync_path(self.file)
        return {"size": self.file.stat().st_size if self.file.exists() else 0}

    def restore(self, kept: dict[str, Any], checkpoint: Path | None) -> None:
        self.size = kept.get("size")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        if state.is_world_process_zero and os.path.lexists(self.file):
            with os.fdopen(open_own(self.file, os.O_RDWR), "r+b") as stream:
                stream.truncate(self.end(stream.read(), state.global_step, self.size))

    def end(self, content: bytes, step: int, size: int | None) -> int:
        """Bytes of ``content`` that are older than the checkpoint of ``step``. Where the file cannot be the one of which the
        checkpoint knows the ``size``, the rows say how far they go; the last may have been cut short.
        """
        if size is not None and size <= len(content) and (size == 0 or content[size - 1 : size] == b"\n"):
            return size
        end = 0
        for line in content.splitlines(keepends=True):
            if not line.endswith(b"\n") or _step(line) > step:
                break
            end += len(line)
        return end


class MetricsFile(RowsFile):
    """Appends every logged row to metrics.jsonl as it comes, with its ``step``.

    It is the trainer's history too, which ``history_elsewhere`` keeps out of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "metrics.jsonl")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        if state.is_world_process_zero and state.global_step > 0 and self.file.exists():
            state.log_history = [row for _, row in json_lines(self.file, Damage(self.file), self.file.parent)]

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs:
            self.append({"step": state.global_step, **{key: plain(value) for key, value in logs.items()}})


class HistogramsFile(RowsFile):
    """Appends the histogram of each generation's entropies to histograms.jsonl: step, key, edges in nats, and counts."""

    def __init__(self, folder: Path, memory: Memory) -> None:
        super().__init__(folder / "histograms.jsonl")
        self.memory = memory

    def kept(self) -> dict[str, Any]:
        """With the one that the next log is to write."""
        return {**super().kept(), "pending": self.memory.histogram}

    def restore(self, kept: dict[str, Any], checkpoint: Path | None) -> None:
        super().restore(kept, checkpoint)
        self.memory.histogram = kept.get("pending")

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        pending, self.memory.histogram = self.memory.histogram, None
        if state.is_world_process_zero and pending is not None:
            self.append({name: pending[name] for name in ("step", "key", "edges", "counts")})  # a checkpoint sorts them


class CompletionsFile(RowsFile):
    """Appends a sample of the newest completions to completions.jsonl at every log that follows a generation.

    With the monitors on, a row has its ``tokens`` as text and their ``entropies`` in nats, null where a tool spoke.
    """

    def __init__(self, folder: Path, count: int, trainer: Any, monitors: Monitors) -> None:
        super().__init__(folder / "completions.jsonl")
        self.count, self.trainer, self.monitors = count, trainer, monitors
        self._seen = -1
        self._text: dict[int, str] = {}
        """Tokens that were decoded before."""

    def kept(self) -> dict[str, Any]:
        return {**super().kept(), "seen": self._seen}

    def restore(self, kept: dict[str, Any], checkpoint: Path | None) -> None:
        super().restore(kept, checkpoint)
        self._seen = kept.get("seen", -1)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = self.trainer._logs
        if not state.is_world_process_zero or not logs["prompt"] or self._seen == self.trainer.generations:
            return
        self._seen = self.trainer.generations
        rows = zip(list(logs["prompt"])[: self.count], list(logs["completion"])[: self.count], strict=False)
        shown = self.monitors.shown_tokens()
        for index, (prompt, completion) in enumerate(rows):
            rewards = {name: plain(values[index]) for name, values in logs["rewards"].items()}
            advantage = plain(logs["advantages"][index])
            row = {"step": state.global_step, "prompt": prompt, "completion": completion}
            row |= {"rewards": rewards, "advantage": advantage}
            if index < len(shown):
                ids, entropies = shown[index]
                row |= {"tokens": [self._decoded(i) for i in ids], "entropies": entropies}
            self.append(row)

    def _decoded(self, token: int) -> str:
        if token not in self._text:
            self._text[token] = self.trainer.processing_class.decode([token])
        return self._text[token]


def record_files(folder: Path, trainer: Any, monitors: Monitors, completions: int) -> list[TrainerCallback]:
    """What writes the run's .jsonl files, ``completions`` of each generation among them."""
    return [
        MetricsFile(folder),
        HistogramsFile(folder, monitors.memory),
        CompletionsFile(folder, completions, trainer, monitors),
    ]


@contextlib.contextmanager
def history_elsewhere(trainer: Any) -> Iterator[None]:
    """Inside, the state of a trainer whose rows go to metrics.jsonl is written without them: each checkpoint would repeat them."""
    state = trainer.state
    rows = state.log_history
    if any(isinstance(callback, MetricsFile) for callback in trainer.callback_handler.callbacks):
        state.log_history = []
    try:
        yield
    finally:
        state.log_history = rows


def plain(value: Any) -> Any:
    """JSON has no NaN: it becomes null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float | str | bool | type(None)) else str(value)


def _step(line: bytes) -> int:
    """Beyond any for a line that no run of ours wrote whole, such as one that a power cut left as zeros."""
    row, _ = parsed(line)
    step = None if row is None else whole(row.get("step"))
    return sys.maxsize if step is None else step
