"""Group-centred advantages without a standard deviation.

    A_i = r_i - mean_g

Liu et al. 2025, Understanding R1-Zero-like training, arXiv:2503.20783 (Dr. GRPO). The paper's second change, a
constant length normaliser, is ``loss: {trl: {type: dr_grpo}}``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES


@ADVANTAGES.register(
    "dr_grpo",
    paper="arXiv:2503.20783",
    rollout_needs=("rewards",),
    clock="rollout",
    reference="verl compute_grpo_outcome_advantage with norm_adv_by_std_in_grpo=False",
)
@dataclass(frozen=True)
class DrGRPO:
    """Reward minus the mean of its prompt group; equals ``grpo`` with ``scale: none``.

    Without the std, groups with little spread (nearly solved, nearly hopeless) do not get their noise amplified.
    """

    def __call__(self, batch: TokenBatch) -> Output:
        rewards, place, mine = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        advantages = rewards - torch.nanmean(rewards, dim=1, keepdim=True)
        return torch.nan_to_num(advantages[place[:, 0], place[:, 1]][mine], nan=0.0), {}
