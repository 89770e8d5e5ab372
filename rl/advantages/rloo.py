"""REINFORCE leave-one-out.

    A_i = r_i - mean_{j != i} r_j = (K r_i - sum_j r_j) / (K - 1)

Kool et al. 2019; Ahmadian et al. 2024, Back to Basics, arXiv:2402.14740, Eq. 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "rloo",
    paper="arXiv:2402.14740",
    rollout_needs=("rewards",),
    clock="rollout",
    reference="verl compute_rloo_outcome_advantage",
)
@dataclass(frozen=True)
class RLOO(Advantage):
    """Reward minus the mean reward of the other members of its prompt group.

    An unbiased baseline: K/(K-1) times ``dr_grpo``. A group with one scorable member gives 0.
    """

    def __call__(self, batch: TokenBatch) -> Output:
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        rewards = groups.matrix
        count = (~torch.isnan(rewards)).sum(1, keepdim=True)
        total = torch.nansum(rewards, dim=1, keepdim=True)
        advantages = (count * rewards - total) / (count - 1).clamp(min=1)
        advantages = torch.where(count > 1, advantages, 0.0)
        return torch.nan_to_num(groups.own(advantages), nan=0.0), {}
