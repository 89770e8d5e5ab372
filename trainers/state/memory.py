"""Callbacks that a checkpoint remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState


class Remembering(TrainerCallback, ExportableState):
    """A callback whose ``kept()`` goes into each checkpoint, and comes back through ``restore`` before the first step.

    transformers saves an exportable callback into trainer_state.json, by the name of its class: a trainer has one of each.
    Restoring through its own flag would build a new object that the trainer does not hold, so it is read back in place.
    """

    def kept(self) -> dict[str, Any]:
        """JSON-able."""
        raise NotImplementedError

    def restore(self, kept: dict[str, Any], checkpoint: Path | None) -> None:
        """``kept`` as the ``checkpoint`` has it; {} where that is None, at the start of a run, or has nothing of this one."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": self.kept()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}" if state.global_step > 0 else None
        saved = (state.stateful_callbacks or {}).get(type(self).__name__) if checkpoint else None
        self.restore((saved or {}).get("attributes", {}), checkpoint)
