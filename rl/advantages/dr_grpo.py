"""Group-centred advantages without a standard deviation.

    A_i = r_i - mean_g

Liu et al. 2025, Understanding R1-Zero-like training, arXiv:2503.20783 (Dr. GRPO). The paper's second change, a
constant length normaliser, is ``loss: {trl: {type: dr_grpo}}``.

``rescale`` is GPG's factor N / N', Chu et al. 2025, arXiv:2504.02546: N of all completions, N' of those that have a gradient. As
verl has it, and we, N' are those whose reward is not 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "dr_grpo",
    paper="arXiv:2503.20783",
    rollout_needs=("rewards",),
    clock="rollout",
    reference="verl compute_grpo_outcome_advantage with norm_adv_by_std_in_grpo=False, compute_gpg_outcome_advantage",
)
@dataclass(frozen=True)
class DrGRPO(Advantage):
    """Reward minus the mean of its prompt group; equals ``grpo`` with ``scale: none``.

    Without the std, groups with little spread (nearly solved, nearly hopeless) do not get their noise amplified.
    """

    rescale: bool = option(
        False, doc="divide by the share of completions whose reward is not 0, of the whole generation"
    )

    def __call__(self, batch: TokenBatch) -> Output:
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        rewards = groups.matrix
        advantages = rewards - torch.nanmean(rewards, dim=1, keepdim=True)
        if self.rescale:
            given = rewards.nan_to_num() != 0
            advantages = advantages * (~rewards.isnan()).sum() / given.sum().clamp(min=1)
        return torch.nan_to_num(groups.own(advantages), nan=0.0), {}
