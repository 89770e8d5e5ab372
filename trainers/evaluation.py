"""Held-out evaluation on the recipe's schedule: before the first step, every N steps, and at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import ExportableState

from entropostat.trainers.callbacks import saved_state


class Evaluation(TrainerCallback, ExportableState):
    """Calls ``measure`` and logs its metrics to all trackers, past TRL's own averaging of training metrics.

    A checkpoint holds the last result, so that a run which is resumed at the step of an evaluation does not repeat it.
    """

    def __init__(self, trainer: Any, measure: Callable[[], dict[str, float]], every: int) -> None:
        self.trainer, self.measure, self.every = trainer, measure, every
        self._last = -1
        self.latest: dict[str, float] = {}

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"last": self._last, "latest": self.latest}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.run(state)
        elif saved := saved_state(self, state):
            self._last, self.latest = saved["last"], dict(saved["latest"])

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
