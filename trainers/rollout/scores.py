"""Scores that nobody can learn from count as none, whoever gave them."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.info import LARGEST_REWARD

log = logging.getLogger(__name__)


class Scores:
    """What TRL's reward functions gave, before anything is computed of it."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self._told: set[str] = set()

    def usable(self, per_func: Tensor) -> Tensor:
        """(N, F) of all ranks, NaN in place of what is infinite, or too large for float32 with the weight of its function.

        A verifier has refused them before, one completion at a time. A plain function or a model of the user's has not, and
        one infinite reward would leave its whole group without a finite advantage.
        """
        weights = self.trainer.reward_weights.to(per_func.device).abs().clamp(min=1)
        bad = per_func.abs() * weights > LARGEST_REWARD
        for place in bad.any(0).nonzero()[:, 0].tolist():
            self._tell(self.trainer.reward_func_names[place], per_func[bad[:, place], place])
        return per_func.masked_fill(bad, torch.nan)

    def _tell(self, name: str, given: Tensor) -> None:
        if name not in self._told and self.trainer.accelerator.is_main_process:
            log.warning(
                "reward function %s gave %g, which is infinite or, with its weight, beyond the %g that float32 can learn from: "
                "such completions get no reward of it; scale it down. Further ones are not told.",
                name,
                given[given.abs().argmax()].item(),
                LARGEST_REWARD,
            )
        self._told.add(name)
