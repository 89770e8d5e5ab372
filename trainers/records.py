"""What a run leaves behind: recipe.yaml, run.json, metrics.jsonl, completions.jsonl, summary.json, checkpoints, final/."""

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
        """A resumed run continues the file: rows after its checkpoint belong to steps that will be run again."""
        if state.is_world_process_zero and self.file.exists():
            rows = [line for line in self.file.read_text().splitlines() if _step(line) <= state.global_step]
            self.file.write_text("".join(f"{line}\n" for line in rows))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs:
            row = {"step": state.global_step, **{key: plain(value) for key, value in logs.items()}}
            with self.file.open("a") as stream:
                stream.write(json.dumps(row) + "\n")


class CompletionsFile(TrainerCallback):
    """Appends a sample of the newest completions to completions.jsonl at every log that follows a generation."""

    def __init__(self, folder: Path, count: int, trainer: Any) -> None:
        self.file, self.count, self.trainer = folder / "completions.jsonl", count, trainer
        self._seen = -1

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = self.trainer._logs
        if not state.is_world_process_zero or not logs["prompt"] or self._seen == self.trainer.generations:
            return
        self._seen = self.trainer.generations
        rows = zip(list(logs["prompt"])[: self.count], list(logs["completion"])[: self.count], strict=False)
        with self.file.open("a") as stream:
            for index, (prompt, completion) in enumerate(rows):
                rewards = {name: plain(values[index]) for name, values in logs["rewards"].items()}
                advantage = plain(logs["advantages"][index])
                row = {"step": state.global_step, "prompt": prompt, "completion": completion}
                stream.write(json.dumps({**row, "rewards": rewards, "advantage": advantage}) + "\n")


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
