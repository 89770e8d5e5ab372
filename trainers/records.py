"""What a run leaves behind: recipe.yaml, run.json, metrics, completions and histograms (.jsonl), summary.json, final/."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

PACKAGES = ("entropostat", "torch", "trl", "transformers", "accelerate", "deepspeed", "datasets", "vllm", "peft")


def new_run_folder(wanted: Path) -> Path:
    """``wanted``, or ``wanted-2``, ``-3``, ... where a run already lies: no run is ever written over."""
    folder, number = wanted, 2
    while folder.exists() and any(folder.iterdir()):
        folder, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_run_file(folder: Path, facts: Mapping[str, Any]) -> None:
    """run.json: versions, seeds and the machine's shape. Nothing from the environment, which may hold secrets."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    record = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        **facts,
    }
    (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n")


class MetricsFile(TrainerCallback):
    """Appends every logged row to metrics.jsonl as it comes: one JSON object a line, with ``step``."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "metrics.jsonl"

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            forget(self.file, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs:
            row = {"step": state.global_step, **{key: plain(value) for key, value in logs.items()}}
            with self.file.open("a") as stream:
                stream.write(json.dumps(row) + "\n")


class HistogramsFile(TrainerCallback):
    """Appends the histogram of each generation's entropies to histograms.jsonl: step, key, edges in nats, and counts."""

    def __init__(self, folder: Path, trainer: Any) -> None:
        self.file, self.trainer = folder / "histograms.jsonl", trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            forget(self.file, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        found, self.trainer.monitored.histogram = self.trainer.monitored.histogram, None
        if state.is_world_process_zero and found is not None:
            with self.file.open("a") as stream:
                stream.write(json.dumps(found) + "\n")


class CompletionsFile(TrainerCallback):
    """Appends a sample of the newest completions to completions.jsonl at every log that follows a generation.

    With the monitors on, a row has its ``tokens`` as text and their ``entropies`` in nats, null where a tool spoke.
    """

    def __init__(self, folder: Path, count: int, trainer: Any) -> None:
        self.file, self.count, self.trainer = folder / "completions.jsonl", count, trainer
        self._seen = -1
        self._text: dict[int, str] = {}
        """Tokens that were decoded before."""

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = self.trainer._logs
        if not state.is_world_process_zero or not logs["prompt"] or self._seen == self.trainer.generations:
            return
        self._seen = self.trainer.generations
        rows = zip(list(logs["prompt"])[: self.count], list(logs["completion"])[: self.count], strict=False)
        shown = self.trainer.shown_tokens()
        with self.file.open("a") as stream:
            for index, (prompt, completion) in enumerate(rows):
                rewards = {name: plain(values[index]) for name, values in logs["rewards"].items()}
                advantage = plain(logs["advantages"][index])
                row = {"step": state.global_step, "prompt": prompt, "completion": completion}
                row |= {"rewards": rewards, "advantage": advantage}
                if index < len(shown):
                    ids, entropies = shown[index]
                    row |= {"tokens": [self._decoded(i) for i in ids], "entropies": entropies}
                stream.write(json.dumps(row) + "\n")

    def _decoded(self, token: int) -> str:
        if token not in self._text:
            self._text[token] = self.trainer.processing_class.decode([token])
        return self._text[token]


def record_files(folder: Path, trainer: Any, completions: int) -> list[TrainerCallback]:
    """What writes the run's .jsonl files, ``completions`` of each generation among them."""
    return [MetricsFile(folder), HistogramsFile(folder, trainer), CompletionsFile(folder, completions, trainer)]


def forget(file: Path, step: int) -> None:
    """A resumed run continues its files: rows after its checkpoint belong to steps that will be run again."""
    if file.exists():
        rows = [line for line in file.read_text().splitlines() if _step(line) <= step]
        file.write_text("".join(f"{line}\n" for line in rows))


def plain(value: Any) -> Any:
    """JSON has no NaN: it becomes null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float | str | bool | type(None)) else str(value)


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):  # a line that a kill cut short
        return sys.maxsize
