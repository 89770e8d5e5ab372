"""The live findings alone, for any trainer of transformers or TRL: ``trainer.add_callback(Doctor())``."""

from __future__ import annotations

from typing import Any

from entropostat.readers.names import ours
from entropostat.trainers.watch.alerts import notify
from entropostat.trainers.watch.diagnosis import Alert, Diagnosis


class Doctor(Diagnosis):
    """Says what goes wrong while a run goes on: one line a finding in the terminal, and an alert in wandb or trackio where one of them
    is on. Changes nothing, and reads only what the trainer logs: entropy, reward, lengths, KL, held-out accuracy.

    ``vocabulary`` is the ceiling of the entropy, exp(H max); None: the model's, once training begins.
    """

    def __init__(self, vocabulary: int | None = None, alert: Alert | None = notify) -> None:
        super().__init__(vocabulary, (), alert)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A resumed run knows what it has told: the trainer's own history up to the checkpoint."""
        if not state.is_world_process_zero:
            return
        if self.live.log.vocabulary is None:
            self.live.log.vocabulary = _vocabulary(kwargs.get("model"))
        past = [self._row(row, row["step"]) for row in state.log_history if "step" in row]
        if past:
            self.live.log.extend(past)
            self.live.skip()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().on_log(args, state, control, self._row(logs or {}, state.global_step), **kwargs)

    @staticmethod
    def _row(logs: dict[str, Any], step: int) -> dict[str, Any]:
        return {"step": step, **{ours(key): value for key, value in logs.items() if key != "step"}}


def _vocabulary(model: Any) -> int | None:
    config = getattr(model, "config", None)
    size = getattr(config, "vocab_size", None) or getattr(getattr(config, "text_config", None), "vocab_size", None)
    return size if isinstance(size, int) and size > 1 else None
