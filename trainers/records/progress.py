"""A progress line for long work: step, reward, entropy and its trend. A bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from transformers import TrainerCallback

from entropostat.sparkline import sparkline


class Progress(TrainerCallback):
    """One updating line on a terminal, about twenty lines otherwise. Main process only."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entropy: list[float] = []
        self.reward: float | None = None
        self.now = ""
        """The entropy of the last step as it is shown; null where it trained on nothing."""
        self._bar: Any = None
        self._task: Any = None
        self._begun = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._begun = time.monotonic()
        if state.is_world_process_zero and sys.stderr.isatty():
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
            self._bar = Bar(*columns, TimeRemainingColumn(), TextColumn("{task.fields[state]}"), transient=True)
            self._task = self._bar.add_task(self.name, total=state.max_steps, completed=state.global_step, state="")
            self._bar.start()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        if isinstance(logs.get("entropy"), float):
            self.entropy.append(logs["entropy"])
        if "entropy" in logs:
            self.now = "null" if logs["entropy"] is None else f"{logs['entropy']:.3f}"
        if isinstance(logs.get("reward"), float):
            self.reward = logs["reward"]
        if "loss" not in logs:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step, state=self.line())
        elif state.global_step % max(state.max_steps // 20, 1) == 0:
            left = (time.monotonic() - self._begun) / max(state.global_step, 1) * (state.max_steps - state.global_step)
            step = f"{state.global_step}/{state.max_steps}"
            print(f"{self.name:<22} step {step:>9}  {self.line()}  {left:.0f} s left", file=sys.stderr, flush=True)

    def line(self) -> str:
        reward = "" if self.reward is None else f"reward {self.reward:.3f}  "
        now = f"entropy {self.now} " if self.now else ""
        return f"{reward}{now}{sparkline(self.entropy)}"

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
