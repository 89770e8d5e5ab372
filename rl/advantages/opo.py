"""The baseline of least variance for whole completions: the mean reward of the group, weighted by length.

    A_i = r_i - sum_j L_j r_j / sum_j L_j

Hao et al. 2025, On-Policy RL with Optimal Reward Baseline, arXiv:2505.23585. Optimal is the mean weighted by the squared norm of
the score of a completion, and its length L stands for that. verl keeps the reward of a completion without siblings; it gets 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "opo",
    paper="arXiv:2505.23585",
    rollout_needs=("rewards",),
    clock="rollout",
    reference="verl compute_opo_outcome_advantage",
)
@dataclass(frozen=True)
class OPO(Advantage):
    """Reward minus the length-weighted mean of its prompt group, without a standard deviation.

    ``dr_grpo`` where all completions are equally long. The completion itself is in the baseline, so the gradient is shorter than
    it should be by its share of the tokens, and the paper wants exactly one update per generation.
    """

    def __call__(self, batch: TokenBatch) -> Output:
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        rewards = groups.matrix
        lengths = all_groups(batch.valid.sum(1).to(rewards.dtype), batch.groups, batch.reducer).matrix
        weights = torch.where(rewards.isnan(), 0.0, lengths)
        centred = rewards - torch.nanmean(rewards, dim=1, keepdim=True)  # equal rewards are then exactly 0
        total = (weights * centred.nan_to_num()).sum(1, keepdim=True)
        advantages = centred - total / weights.sum(1, keepdim=True).clamp(min=1)
        return torch.nan_to_num(groups.own(advantages), nan=0.0), {}
