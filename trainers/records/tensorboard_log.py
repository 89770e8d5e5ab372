"""TensorBoard's files in the run's folder: every number of metrics.jsonl, under the names that wandb has for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from entropostat.metrics.trackers import in_wandb

FOLDER = "tensorboard"


class TensorboardLog(TrainerCallback):
    """transformers' own would also write the whole config, with what may be a token in it, and the model's paths.

    A run that goes on from a checkpoint begins another file, whose first step tells TensorBoard to forget later ones of the old.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER
        self._writer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero and self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # an extra, and slow to import

            again = {"purge_step": state.global_step + 1} if state.global_step > 0 else {}
            self._writer = SummaryWriter(str(self.folder), **again)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        self.on_train_begin(args, state, control)  # an evaluation before the first step
        for key, value in logs.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(in_wandb(key), value, state.global_step)
        self._writer.flush()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
