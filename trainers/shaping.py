"""The recipe's ``shaping:`` block: what becomes of the rewards of a generation before any advantage is computed.

The weighted sum of a completion's rewards is normalised, then clipped, then the penalty for not ending is taken off: last,
so that no clip hides it and no mean absorbs it. Controllers and TRL's own metrics go on reading the rewards as they were.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from entropostat.recipe.blocks import Shaping
from entropostat.rl.batch import TokenBatch
from entropostat.rl.normaliser import RunningMoments
from entropostat.trainers.rollouts import truncated, weighted_rewards


class ShapingMixin:
    """Part of EntropyMixin. Takes ``shaping``, that block of a recipe."""

    thermostat: Any
    accelerator: Any
    model: Any
    _reducer: Any
    _metrics: dict[str, Any]

    def __init__(self, *args: Any, shaping: Shaping | None = None, **kwargs: Any) -> None:
        self.shaping = shaping or Shaping()
        if self.shaping.active and not self.thermostat.template.advantages:
            raise ValueError("shaping: TRL's own advantages would not see it; give the objective one, such as grpo")
        if self.shaping.active and "reward_parts" in self.thermostat.template.rollout_needs:
            raise ValueError(
                "shaping: changes the sum of the rewards, and gdpo normalises each by itself; leave one out"
            )
        self.moments = RunningMoments()
        """Of every reward of the run, on all ranks: each rank is given all of them, so that no two differ."""
        self._unshaped: Tensor | None = None
        super().__init__(*args, **kwargs)

    def shaped_rewards(self, per_func: Tensor, output: dict[str, Any], again: bool = False) -> Tensor:
        """(B,) rewards of this rank's completions; NaN where nothing could score one.

        ``per_func`` (N, F) holds the scores of all ranks. With ``again``, for a second generation at one point of training,
        nothing is counted or logged.
        """
        rewards = weighted_rewards(self, per_func)
        rows = output["completion_ids"].size(0)
        mine = slice(self.accelerator.process_index * rows, (self.accelerator.process_index + 1) * rows)
        if not again:
            self._unshaped = rewards[mine]
        if not self.shaping.active:
            return rewards[mine]
        training = self.model.training and not again
        if training and self.shaping.normalise:
            self.moments = self.moments.update(rewards)
        shaped = self.moments.normalise(rewards) if self.shaping.normalise else rewards
        clipped = torch.zeros_like(shaped, dtype=torch.bool)
        if self.shaping.clip is not None:
            clipped = shaped.abs() > self.shaping.clip
            shaped = shaped.clamp(-self.shaping.clip, self.shaping.clip)
        cut = truncated(self, output)
        local = shaped[mine] - (self.shaping.missing_eos_penalty or 0.0) * cut
        if training:
            self._log_shaping(rewards[mine], local, clipped[mine], cut)
        return local

    def _log_shaping(self, raw: Tensor, shaped: Tensor, clipped: Tensor, cut: Tensor) -> None:
        """Means over the completions of all ranks that have a reward; nothing where none has."""
        scored = ~raw.isnan()
        values = [raw.nan_to_num(), shaped.nan_to_num(), clipped & scored, cut & scored, scored]
        *sums, count = self._reducer.sum(torch.stack([x.double().sum() for x in values])).tolist()
        if count:
            for name, total in zip(("raw", "shaped", "clipped", "missing_eos"), sums, strict=True):
                self._metrics["train"][f"shaping/{name}"].append(total / count)

    def _measure(self, batch: TokenBatch, ref_entropy: Tensor | None) -> None:
        super()._measure(batch.set(rewards=self._unshaped), ref_entropy)  # type: ignore[misc]
