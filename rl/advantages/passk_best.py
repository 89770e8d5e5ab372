"""Pass@k by the best completion alone: it gets what it is ahead of the second best.

    A_i = (r_(1) - r_(2)) / (std_g + epsilon) for the best of the group, 0 for the others

Tang et al. 2025, Optimizing Language Models for Inference Time Objectives using Reinforcement Learning, arXiv:2503.19595: the
leave-one-out advantage of the maximum of the group, so k is its size. ``scale: none`` is the paper's, the deviation verl's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups, nan_std
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "passk_best",
    paper="arXiv:2503.19595",
    rollout_needs=("rewards",),
    clock="rollout",
    reference="verl compute_grpo_passk_outcome_advantage",
    provides={"decided": "Share of prompts of the generation whose best completion is ahead of the second best."},
)
@dataclass(frozen=True)
class PassKBest(Advantage):
    """Reinforce the one completion that was better than all others of its prompt.

    Nothing is ever punished. Inert where the best reward was reached twice: with rewards of 0 and 1 only prompts with exactly
    one right completion train.
    """

    scale: str = option("group", choices=("group", "none"), doc="which standard deviation divides")
    epsilon: float = option(1e-6, above=0.0, fixed=True, doc="added to the standard deviation (verl 1e-6)")

    @property
    def scale_rewards(self) -> str:
        return self.scale

    def __call__(self, batch: TokenBatch) -> Output:
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        rewards = groups.matrix
        known = rewards.nan_to_num(nan=-torch.inf)
        best, at = known.max(1, keepdim=True)
        second = known.scatter(1, at, -torch.inf).amax(1, keepdim=True)
        gap = torch.where(second.isfinite(), best - second, 0.0)
        if self.scale == "group":
            gap = torch.where(gap > 0, gap / (nan_std(rewards, dim=1).unsqueeze(1) + self.epsilon), 0.0)
        advantages = torch.zeros_like(rewards).scatter(1, at, gap)
        decided = (gap > 0).sum() / known.isfinite().any(1).sum()
        return groups.own(advantages), {"decided": decided}
