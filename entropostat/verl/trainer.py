"""verl's trainers with our objective, registered beside them: ``trainer.v1.trainer_mode=entropostat``.

What is overridden, each with one call of verl's own:

    __init__              the configuration is checked, and what the objective reads switched on
    _setup                the actor's loss is ours
    _compute_old_log_prob asks for sum_p2, where that is read
    _compute_advantage    advantages and statistics of the whole generation
    _update_actor         controllers move by what the update measured
    _save_checkpoint, _load_checkpoint
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from entropostat.atomic import write_whole
from entropostat.verl.driver import READ, Driver
from entropostat.verl.fields import GENERATION
from entropostat.verl.reported import PREFIX
from entropostat.verl.settings import Settings

if TYPE_CHECKING:
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer as Trainer
else:
    Trainer = object  # one of verl's stands behind it in every class below

log = logging.getLogger(__name__)
FILE = "entropostat.json"
"""Beside ``actor`` in a checkpoint."""


class _Objective(Trainer):
    """The overrides. ``mode`` is verl's own name of the trainer beneath, by which it finds settings and replay buffer."""

    mode: ClassVar[str]

    def __init__(self, config: DictConfig) -> None:
        settings = Settings.of(config)
        settings.switch_on(config)
        with open_dict(config):
            config.trainer.v1.trainer_mode = self.mode
        self.driver = Driver(settings)
        super().__init__(config)

    def _setup(self) -> None:
        super()._setup()
        self.actor_rollout_wg.set_loss_fn(self.driver.loss)

    def _compute_old_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        return super()._compute_old_log_prob(self._asking(batch), metrics)

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        if not self.driver.settings.estimates:
            batch = super()._compute_advantage(batch, metrics)
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(READ))
        padding = [bool(tag.get("is_padding", False)) for tag in batch.tags]
        fields, told, logged = self.driver.generation(data, batch.keys, padding, self.tokenizer)
        tags, info = batch.tags, batch.extra_info
        batch = tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)
        batch.tags = tags
        batch.extra_info.update({**info, GENERATION: told})
        metrics.update({PREFIX + key: value for key, value in logged.items()})
        return batch

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        batch = super()._update_actor(self._asking(batch), metrics)
        own = {key: metrics.pop(key) for key in [*metrics] if key.startswith(f"actor/{PREFIX}")}
        steps = self.total_training_steps * self.parameter_sync_step
        logged = self.driver.step(own, float(metrics["actor/grad_norm"]), steps)
        metrics.update({PREFIX + key: value for key, value in logged.items()})
        for problem in self.driver.problems():
            log.warning("step %d, %s", self.global_steps, problem)
        return batch

    def _asking(self, batch: Any) -> Any:
        batch.extra_info["calculate_sum_pi_squared"] = "sum_p2" in self.driver.settings.needs
        return batch

    def _save_checkpoint(self) -> None:
        """Ours first: verl writes last which checkpoint is complete."""
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / FILE, json.dumps(self.driver.state_dict()) + "\n")
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if not self.global_steps:
            return
        trainer = self.config.trainer
        named = trainer.resume_from_path if trainer.resume_mode == "resume_path" else None
        folder = Path(named or os.path.join(trainer.default_local_dir, f"global_step_{self.global_steps}"))
        if not (folder / FILE).is_file():
            log.warning("%s: has no %s, so that controllers begin anew", folder, FILE)
            return
        self.driver.load_state_dict(json.loads((folder / FILE).read_text(encoding="utf-8")))


@register_trainer("entropostat")
class EntropySync(_Objective, PPOTrainerSync):
    mode = "sync"


@register_trainer("entropostat_colocate_async")
class EntropyColocateAsync(_Objective, PPOTrainerColocateAsync):
    mode = "colocate_async"


@register_trainer("entropostat_separate_async")
class EntropySeparateAsync(_Objective, PPOTrainerSeparateAsync):
    """A generation is here what is sampled for one local update: ``train_batch_size / parameter_sync_step`` prompts."""

    mode = "separate_async"
