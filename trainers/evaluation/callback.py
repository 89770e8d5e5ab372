"""Held-out evaluation on the recipe's schedule: before the first step, every N steps, and at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import Trainer

from entropostat.trainers.state.memory import Remembering


class Evaluation(Remembering):
    """Calls ``measure`` and logs its metrics to all trackers, past TRL's own averaging of training metrics.

    A checkpoint holds the last result, so that a run which is resumed at the step of an evaluation does not repeat it.
    """

    def __init__(self, trainer: Any, measure: Callable[[], dict[str, float]], every: int) -> None:
        self.trainer, self.measure, self.every = trainer, measure, every
        self._last = -1
        self.latest: dict[str, float] = {}

    def kept(self) -> dict[str, Any]:
        return {"last": self._last, "latest": self.latest}

    def restore(self, kept: dict[str, Any], checkpoint: Path | None) -> None:
        if kept:
            self._last, self.latest = kept["last"], dict(kept["latest"])

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        if state.global_step == 0:
            self.run(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.every and state.global_step % self.every == 0:
            self.run(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:  # who stops a run wants it to stop
            self.run(state)

    def run(self, state: Any) -> None:
        if state.global_step == self._last:
            return
        self._last = state.global_step
        self.latest = self.measure()
        if self.latest:
            # Logging clears the flag by which the training row of this very step is still to be logged.
            due = self.trainer.control.should_log
            Trainer.log(self.trainer, dict(self.latest))
            self.trainer.control.should_log = due
