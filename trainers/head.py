"""A head in a trainer: with the policy in one optimizer, beside it in the files, and out of vLLM's sight."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils.deepspeed import DummyOptim  # `accelerate.utils` has it only beside DeepSpeed

from entropostat.trainers.model.adapter import opened_from
from entropostat.trainers.model.head_tap import APART, HeadTap, join_schedule, set_apart, without


class HeadOwner:
    """Of a head that ``tap`` has added to the policy. One beside the model's own files is taken over."""

    def __init__(self, trainer: Any, tap: HeadTap, learning_rate: float | None) -> None:
        """After TRL's own __init__: adapters freeze what they find, and would adapt linear heads too."""
        self.trainer, self.head_tap, self._stated = trainer, tap, learning_rate
        start = opened_from(trainer.model, tap.model)
        for folder in (start, start / APART):
            if (folder / tap.file).is_file():
                tap.load(folder)
                break
        if trainer.optimizer is not None:  # the caller's, who could not know of the head
            set_apart(trainer.optimizer, tap.head, self._rate)
            join_schedule(trainer.lr_scheduler, trainer.optimizer, self._rate, tap.what)
        if trainer.use_vllm:
            engine = trainer.vllm_generation
            engine._iter_named_params = without(tap.name, engine._iter_named_params)

    @property
    def _rate(self) -> float:
        return float(self._stated or self.trainer.args.learning_rate)

    def group(self) -> dict[str, Any]:
        """Its weights as a group of an optimizer that is made of groups."""
        return {"params": list(self.head_tap.head.parameters()), "lr": self._rate, "weight_decay": 0.0}

    def set_apart(self, optimizer: Any) -> None:
        """In an optimizer of all weights, which others have made."""
        if not isinstance(optimizer, AcceleratedOptimizer | DummyOptim):
            set_apart(optimizer, self.head_tap.head, self._rate)

    def apart(self) -> AbstractContextManager[None]:
        """Inside, the policy is without it."""
        return self.head_tap.apart()

    def save(self, folder: Path) -> None:
        self.head_tap.save(folder, self.trainer.args.should_save)

    def load(self, checkpoint: Path) -> None:
        if not self.trainer.is_deepspeed_enabled:  # whose engine has restored all of the module
            self.head_tap.load(checkpoint)
