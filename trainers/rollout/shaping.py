"""The recipe's ``shaping:`` block: what becomes of the rewards of a generation before any advantage is computed.

The weighted sum of a completion's rewards is normalised, then clipped, then the penalty for not ending is taken off: last,
so that no clip hides it and no mean absorbs it. Controllers and TRL's own metrics go on reading the rewards as they were.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from entropostat.recipe.blocks import Shaping
from entropostat.rl.control import Control
from entropostat.rl.moments import RunningMoments
from entropostat.rl.reduce import Reducer
from entropostat.trainers.rollout.rollouts import truncated, weighted_rewards
from entropostat.trainers.trl.log import note


def check_shaping(shaping: Shaping, control: Control) -> None:
    """Raises ValueError where the advantages would not see what the block does."""
    if shaping.active and not control.template.advantages:
        raise ValueError("shaping: TRL's own advantages would not see it; give the objective one, such as grpo")
    if shaping.active and "reward_parts" in control.template.rollout_needs:
        raise ValueError("shaping: changes the sum of the rewards, and gdpo normalises each by itself; leave one out")


class RewardShaper:
    """Rewards of a generation as its advantages will see them. Remembers the moments of all rewards of the run."""

    def __init__(self, trainer: Any, settings: Shaping, reducer: Reducer) -> None:
        self.trainer, self.settings, self.reducer = trainer, settings, reducer
        self.moments = RunningMoments()
        """Of every reward of the run, on all ranks: each rank is given all of them, so that no two differ."""
        self.unshaped: Tensor | None = None
        """(B,) of this rank's newest generation, NaN where nothing could score one."""

    def shape(self, per_func: Tensor, output: dict[str, Any], again: bool = False) -> Tensor:
        """(B,) rewards of this rank's completions; NaN where nothing could score one.

        ``per_func`` (N, F) holds the scores of all ranks. With ``again``, for a second generation at one point of training,
        nothing is counted or logged.
        """
        rewards = weighted_rewards(self.trainer, per_func)
        rows = output["completion_ids"].size(0)
        mine = slice(self.trainer.accelerator.process_index * rows, (self.trainer.accelerator.process_index + 1) * rows)
        if not again:
            self.unshaped = rewards[mine]
        if not self.settings.active:
            return rewards[mine]
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
            self._log_shaping(rewards[mine], local, clipped[mine], cut)
        return local

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
