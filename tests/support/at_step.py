"""Something happens to a run at one of its steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers import TrainerCallback

from entropostat.trainers import run


def at_step(step: int, act: Callable[[], Any], patch: pytest.MonkeyPatch) -> None:
    """Call ``act`` when step ``step`` begins, in the next run of this process."""

    class Act(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step + 1 == step:
                act()

    prepare = run.prepare

    def prepared(*args: Any) -> Any:
        trainer, evaluation = prepare(*args)
        trainer.add_callback(Act())
        return trainer, evaluation

    patch.setattr(run, "prepare", prepared)


class StopAt(TrainerCallback):
    """Asks ``trainer`` to stop when step ``step`` begins."""

    def __init__(self, trainer: Any, step: int) -> None:
        self.trainer, self.step = trainer, step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.stop_requested = state.global_step + 1 == self.step
