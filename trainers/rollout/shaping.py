"""What becomes of the rewards of a generation before any advantage is computed: ``objective.rewards``, then ``shaping:``.

The terms of the slot see the weighted sum of a completion's rewards as the verifiers gave it, which says what is right. What
they make of it is normalised, then clipped, then the penalty for not ending is taken off: last, so that no clip hides it and
no mean absorbs it. Controllers, monitors, evaluations and TRL's own metrics go on reading the rewards as they were.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from entropostat.recipe.blocks import Shaping
from entropostat.rl.batch import TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.info import State
from entropostat.rl.measured import merged
from entropostat.rl.moments import RunningMoments
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import Reducer
from entropostat.trainers.rollout.rollouts import weighted_rewards
from entropostat.trainers.rollout.scores import Scores
from entropostat.trainers.trl.described import truncated
from entropostat.trainers.trl.log import note


def check_shaping(shaping: Shaping, control: Control) -> None:
    """Raises ValueError where the advantages would not see what the block does."""
    template = control.template
    changing = [f"objective.rewards.{part.name}" for part in template.rewards] + ["shaping"] * shaping.active
    for key in changing[:1]:
        if not template.advantages:
            raise ValueError(f"{key}: TRL's own advantages would not see it; give the objective one, such as grpo")
        if "reward_parts" in template.rollout_needs:
            raise ValueError(
                f"{key}: changes the sum of the rewards, and gdpo normalises each by itself; leave one out"
            )


class RewardShaper:
    """Rewards of a generation as its advantages will see them. Remembers the moments of all rewards of the run, and what the
    terms of the slot ``rewards`` remember."""

    def __init__(self, trainer: Any, settings: Shaping, reducer: Reducer) -> None:
        self.trainer, self.settings, self.reducer = trainer, settings, reducer
        self.scores = Scores(trainer)
        self.moments = RunningMoments()
        """Of every reward of the run, on all ranks: each rank is given all of them, so that no two differ."""
        self.memory: dict[str, State] = {}
        """Term -> what it remembers of the generations so far: the same on every rank."""
        self.unshaped: Tensor | None = None
        """(B,) of this rank's newest generation, NaN where nothing could score one."""

    def judged(self, per_func: Tensor, output: dict[str, Any]) -> Tensor:
        """(B,) of this rank's completions: the weighted sum of what the verifiers gave, of ``per_func`` (N, F) of all ranks."""
        return weighted_rewards(self.trainer, per_func)[self._mine(output)]

    def reward(self, objective: Objective, batch: TokenBatch) -> Tensor:
        """(B,) what the slot ``rewards`` makes of ``batch.unshaped``."""
        training = self.trainer.model.training
        found = objective.reward(batch, self.memory, learn=training)
        self.memory = found.memory
        note(self.trainer, merged({**found.metrics, "shaping/unusable": found.lost}, self.reducer))
        return found.rewards

    def shape(
        self, per_func: Tensor, output: dict[str, Any], again: bool = False, rewarded: Tensor | None = None
    ) -> Tensor:
        """(B,) rewards of this rank's completions; NaN where nothing could score one.

        ``per_func`` (N, F) holds the scores of all ranks, ``rewarded`` (B,) what the slot ``rewards`` made of this rank's. With
        ``again``, for a second generation at one point of training, nothing is counted or logged, and the verifiers' sum is
        what is shaped: it says whether a completion is right.
        """
        rewards, mine = weighted_rewards(self.trainer, per_func), self._mine(output)
        if not again:
            self.unshaped = rewards[mine]
        raw = rewards[mine]
        if rewarded is not None:
            rewards = self.reducer.gather(rewarded)
        elif not self.settings.active:
            return raw
        training = self.trainer.model.training and not again
        if training and self.settings.normalise:
            self.moments = self.moments.update(rewards)
        shaped = self.moments.normalise(rewards) if self.settings.normalise else rewards
        clipped = torch.zeros_like(shaped, dtype=torch.bool)
        if self.settings.clip is not None:
            clipped = shaped.abs() > self.settings.clip
            shaped = shaped.clamp(-self.settings.clip, self.settings.clip)
        cut = truncated(self.trainer, output)
        local = shaped[mine] - (self.settings.missing_eos_penalty or 0.0) * cut
        if training:
            self._log_shaping(raw, local, clipped[mine], cut)
        return local

    def _mine(self, output: dict[str, Any]) -> slice:
        """Which of the completions of all ranks are this one's."""
        rows, rank = output["completion_ids"].size(0), self.trainer.accelerator.process_index
        return slice(rank * rows, (rank + 1) * rows)

    def _log_shaping(self, raw: Tensor, shaped: Tensor, clipped: Tensor, cut: Tensor) -> None:
        """Means over the completions of all ranks that have a reward; nothing where none has."""
        scored = ~raw.isnan()
        values = [raw.nan_to_num(), shaped.nan_to_num(), clipped & scored, cut & scored, scored]
        *sums, count = self.reducer.sum(torch.stack([x.double().sum() for x in values])).tolist()
        if count:
            names = ("raw", "shaped", "clipped", "missing_eos")
            note(
                self.trainer,
                {name: total / count for name, total in zip(names, sums, strict=True)},
                "shaping/",
                "train",
            )
