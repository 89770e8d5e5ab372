"""The overrides of TRL's trainer that make, write and read what outlives a step, each calling super() once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from entropostat.recipe.blocks import Muon
from entropostat.trainers.critic import CriticOwner
from entropostat.trainers.head import HeadOwner
from entropostat.trainers.optim.muon import create_muon
from entropostat.trainers.partition import Partition
from entropostat.trainers.records.files import history_elsewhere
from entropostat.trainers.rollout.stream import PromptStream
from entropostat.trainers.rollout.stream_state import save_stream
from entropostat.trainers.state.anchor import AnchorCallback
from entropostat.trainers.state.rank_state import save_rank
from entropostat.trainers.state.restricted import restricted_loading
from entropostat.trainers.state.saving import Saving
from entropostat.trainers.trl.below import Below
from entropostat.trainers.watch.monitors import Monitors


class RunSeams(Below):
    """Put before GRPOTrainer in the bases, behind EntropyMixin, which makes the owners."""

    anchor: AnchorCallback
    critic: CriticOwner | None
    partition: Partition
    monitors: Monitors
    saving: Saving
    stream: PromptStream
    muon: Muon | None
    fingerprint: Callable[[int], str | None]

    @property
    def heads(self) -> tuple[HeadOwner, ...]:
        """What learns beside the policy."""
        return tuple(head for head in (self.critic, self.partition.owner) if head is not None)

    def create_optimizer(self, model: Any = None) -> Any:
        if self.muon is not None:
            create_muon(self, self.muon, [head.group() for head in self.heads])
        optimizer = super().create_optimizer(model)
        if self.muon is None:
            for head in self.heads:
                head.set_apart(optimizer)
        return optimizer

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        """The policy as TRL saves it, and a head beside it in a file of its own."""
        with ExitStack() as stack:
            for head in self.heads:
                stack.enter_context(head.apart())
            super().save_model(output_dir, *args, **kwargs)
        for head in self.heads:
            head.save(Path(output_dir or str(self.args.output_dir)))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with self.saving.sealed(trial, self.fingerprint(self.state.global_step)) as folder:
            with history_elsewhere(self), self.saving.writing(folder, trial):
                super()._save_checkpoint(model, trial)
            save_rank(self, folder, self.monitors)
            self.anchor.save(folder)
            if self.args.should_save:
                save_stream(self.stream, folder)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        with restricted_loading(self):
            return super()._prepare_for_training(*args, **kwargs)

    def _load_best_model(self, *args: Any, **kwargs: Any) -> None:
        with restricted_loading(self):
            super()._load_best_model(*args, **kwargs)
        if self.state.best_model_checkpoint is not None:
            for head in self.heads:
                head.load(Path(self.state.best_model_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            for head in self.heads:
                head.load(Path(checkpoint))

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Nothing more for a run that is resumed from its last step: transformers would train one step beyond it."""
        if self.state.global_step >= self.state.max_steps:
            return [], None
        return super().get_batch_samples(*args, **kwargs)
