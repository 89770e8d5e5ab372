"""wandb's callback with the metric schema: what each key is, histograms, and a table of completions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers.integrations import WandbCallback

from entropostat.dashboard.workspace import COMPLETIONS
from entropostat.metrics.trackers import STEP, definition, in_wandb

TABLES = 20
"""Tables of completions in a whole run: each is a file that is uploaded."""


class Tail:
    """New rows of a .jsonl file that another callback of this process writes."""

    def __init__(self, file: Path, after: int) -> None:
        self.file, self.after = file, after
        self._at = 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """Those since the last call, of steps later than ``after``."""
        if not self.file.exists():
            return
        with self.file.open() as stream:
            stream.seek(self._at)
            lines = stream.readlines()
            self._at = stream.tell()
        for row in map(json.loads, lines):
            if row["step"] > self.after:
                yield row


class WandbLog(WandbCallback):
    """transformers' own, which logs the numbers, and around it: ``define_metric`` before a key's first row, and the files."""

    def __init__(self, folder: Path, kinds: Mapping[str, str]) -> None:
        super().__init__()
        self.folder, self.kinds = folder, kinds
        self._told: set[str] = set()
        self._tails: dict[str, Tail] = {}
        self._sample: list[dict[str, Any]] = []
        """Completions of the newest generation."""
        self._tabled = 0
        self._after = -1
        """Step that the run goes on from; what the files hold of earlier ones was sent before."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step > 0:
            self._after = self._tabled = state.global_step
        super().on_train_begin(args, state, control, model=model, **kwargs)

    def on_log(self, args: Any, state: Any, control: Any, model: Any = None, logs: Any = None, **kwargs: Any) -> None:
        if not self._initialized:
            self.setup(args, state, model)
        if not state.is_world_process_zero:
            return
        for key in logs.keys() - self._told:
            self._told.add(key)
            if told := definition(key, self.kinds):
                self._wandb.define_metric(**told)
        super().on_log(args, state, control, model=model, logs=logs, **kwargs)
        self._histograms()
        self._completions(state, last=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Everything is written before the process goes on: the next run in it must not add to this one."""
        super().on_train_end(args, state, control, **kwargs)
        if state.is_world_process_zero and self._wandb.run is not None:
            self._completions(state, last=True)
            self._wandb.finish()

    def _new(self, name: str) -> Iterator[dict[str, Any]]:
        return self._tails.setdefault(name, Tail(self.folder / name, self._after)).rows()

    def _histograms(self) -> None:
        for row in self._new("histograms.jsonl"):
            drawn = self._wandb.Histogram(np_histogram=(row["counts"], row["edges"]))
            self._wandb.log({f"{in_wandb(row['key'])}/histogram": drawn, STEP: row["step"]})

    def _completions(self, state: Any, last: bool) -> None:
        for row in self._new("completions.jsonl"):
            if self._sample and self._sample[0]["step"] != row["step"]:
                self._sample = []
            self._sample.append(row)
        due = last or state.global_step >= self._tabled + max(state.max_steps // TABLES, 1)
        if self._sample and due:
            self._wandb.log({COMPLETIONS: self._table(), STEP: self._sample[0]["step"]})
            self._sample, self._tabled = [], state.global_step

    def _table(self) -> Any:
        functions = sorted({name for row in self._sample for name in row["rewards"]})
        table = self._wandb.Table(columns=["step", "prompt", "completion", "advantage", "entropy", *functions])
        for row in self._sample:
            entropies = [x for x in row.get("entropies") or [] if x is not None]
            mean = sum(entropies) / len(entropies) if entropies else None
            rewards = [row["rewards"].get(name) for name in functions]
            table.add_data(
                row["step"], _text(row["prompt"]), _text(row["completion"]), row["advantage"], mean, *rewards
            )
        return table


def _text(said: Any) -> str:
    """A prompt or completion in one cell; a conversation as JSON."""
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
