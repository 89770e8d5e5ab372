"""Trainer callbacks: the controllers' clock and memory."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from entropostat.trainers.config import too_few
from entropostat.trainers.interrupt import stop_file


class ControlCallback(TrainerCallback, ExportableState):
    """Moves the controllers after each optimizer step and keeps their state in the checkpoint.

    transformers saves an exportable callback into trainer_state.json; restoring through its own flag would build a new
    object that the trainer does not hold, so the state is read back in place.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def state(self) -> dict[str, Any]:
        trainer = self.trainer
        kept = {"control": trainer.control_state, "generations": trainer.generations, "signals": trainer._held}
        kept |= {"moments": trainer.moments.state_dict(), "monitors": trainer.monitored.state()}
        kept |= {"watches": {path: watch.state_dict() for path, watch in trainer._watches.items()}}
        return {"args": {}, "attributes": kept}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if saved := saved_state(self, state):
            self.trainer.restore_control(saved)
        self.trainer.scale_learning_rate()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.is_world_process_zero and stop_file() is not None:
            self.trainer.stop_requested = True
        applied = not self.trainer.accelerator.optimizer_step_was_skipped
        if self.trainer.close_window(applied):
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A stream of prompts has no length that could be checked before."""
        if state.global_step == 0 < state.max_steps and not self.trainer.stop_requested:
            asked = args.generation_batch_size // args.num_generations
            raise ValueError(f"train_dataset: no step was made, its prompts {too_few(asked)}")


def saved_state(callback: Any, state: Any) -> dict[str, Any]:
    """What the checkpoint from which a run goes on kept of ``callback``; {} at the start of a run, or where it has nothing.

    transformers keys it by class: a trainer has one callback of each.
    """
    found = (state.stateful_callbacks or {}).get(type(callback).__name__) if state.global_step > 0 else None
    kept: dict[str, Any] = (found or {}).get("attributes", {})
    return kept
