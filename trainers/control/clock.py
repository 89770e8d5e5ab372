"""When an optimizer step is over: the trainer's window closes, and what it remembers between steps goes into checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from entropostat.rl.moments import RunningMoments
from entropostat.trainers.rollout.stream_state import restore_stream
from entropostat.trainers.state.interrupt import stop_file
from entropostat.trainers.state.memory import Remembering
from entropostat.trainers.state.rank_state import restore_rank
from entropostat.trainers.trl.config import prompts_per_generation, too_few

log = logging.getLogger(__name__)


class ControlCallback(Remembering):
    """The trainer's clock. What is kept is that of several owners, in one entry of the checkpoint."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def kept(self) -> dict[str, Any]:
        trainer = self.trainer
        kept = {**trainer.thermostat.state_dict(), "generations": trainer.generations}
        kept |= {"moments": trainer.shaper.moments.state_dict(), "monitors": trainer.monitors.memory.state()}
        kept |= {"rewards": trainer.shaper.memory, "planning": trainer.planning.state_dict()}
        held = {"temperature": trainer.scalars.temperature} if trainer.scalars.temperature is not None else {}
        return kept | {"signals": {**kept["signals"], **held}}

    def restore(self, kept: dict[str, Any], checkpoint: Path | None) -> None:
        trainer = self.trainer
        if kept and checkpoint is not None:
            trainer.saving.tidy(checkpoint)
            if not restore_rank(trainer, checkpoint, trainer.monitors):
                log.warning(
                    "this checkpoint holds no rollout buffer for this rank: the run goes on with a new generation"
                )
            if not restore_stream(trainer.stream, checkpoint, trainer.accelerator.device) and trainer.objective.data:
                log.warning("this checkpoint remembers no prompts: objective.data begins anew")
            signals = dict(kept["signals"])
            trainer.scalars.temperature = signals.pop("temperature", None)
            trainer.thermostat.load_state_dict({**kept, "signals": signals})
            trainer.generations = kept["generations"]
            trainer.shaper.moments = RunningMoments.from_state(kept.get("moments", {}))
            trainer.shaper.memory = dict(kept.get("rewards", {}))
            trainer.planning.load_state_dict(kept.get("planning", {}))
            trainer.monitors.memory.restore(kept.get("monitors", {}))
            trainer.model.train()  # as between two steps: TRL's log goes by it, also where no step is left
        trainer.scalars.scale_learning_rate(trainer.objective)

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
            asked = too_few(prompts_per_generation(args))
            raise ValueError(f"train_dataset: no step was made, its prompts {asked}")
