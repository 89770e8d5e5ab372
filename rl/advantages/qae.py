"""Quantile advantage estimation: a quantile of the group as the baseline.

    A_i = (r_i - Q_K(group)) / (std + epsilon)

arXiv:2509.22611. Q_K is the smallest reward that at least a share K of the group does not exceed. With rewards of 0 and 1
and a success rate p: p <= 1 - K gives only successes an advantage (reinforce what is rare), p > 1 - K only failures. Most
completions get exactly 0. K 0.4 is from memory, the division by the std is our reading of the abstract: not confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups, nan_std
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "qae",
    paper="arXiv:2509.22611",
    rollout_needs=("rewards",),
    clock="rollout",
    provides={"zero": "Share of completions whose advantage is exactly 0, over all ranks."},
)
@dataclass(frozen=True)
class QAE(Advantage):
    """Reward minus a quantile of its prompt group: on hard prompts only successes train, on easy ones only failures.

    Inert where all members of a group have the same reward, and for a group with one member.
    """

    quantile: float = option(0.4, above=0.0, below=1.0, doc="K: share of the group at or below the baseline")
    scale: str = option("group", choices=("group", "none"), doc="whether the group's standard deviation divides")
    epsilon: float = option(1e-4, above=0.0, fixed=True, doc="added to the standard deviation")

    @property
    def scale_rewards(self) -> str:
        return self.scale

    def __call__(self, batch: TokenBatch) -> Output:
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        rewards = groups.matrix
        scored = ~torch.isnan(rewards)
        # The rounding must not lift 0.6 * 5 above 3.
        rank = torch.ceil(self.quantile * scored.sum(1, keepdim=True).double() - 1e-9).long() - 1
        baseline = rewards.sort(dim=1).values.gather(1, rank.clamp(min=0))  # sort puts NaN last
        advantages = rewards - baseline
        if self.scale == "group":
            advantages = advantages / (nan_std(rewards, dim=1).unsqueeze(1) + self.epsilon)
        advantages = torch.nan_to_num(advantages, nan=0.0)
        zero = (advantages[scored] == 0).float().sum() / scored.sum()
        return groups.own(advantages), {"zero": zero}
