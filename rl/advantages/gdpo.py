"""GDPO: every reward is normalised by itself before they are summed.

    a_ik = (r_ik - mean_g r_k) / (std_g r_k + epsilon),     s_i = sum_k w_k a_ik,     A_i = (s_i - mean s) / (std s + epsilon)

with mean_g and std_g over the prompt group, and mean and std over the whole generation. Group reward-Decoupled Normalization
Policy Optimization, arXiv:2601.05242. Same arithmetic as TRL 1.16's ``multi_objective_aggregation: normalize_then_sum``, bit for
bit; the paper itself was not read. A reward that is missing (NaN) stays out of its own mean and adds nothing to the sum.

``shaping:`` of a recipe acts on the sum of the rewards, which this term does not read: the two together are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups, nan_std
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "gdpo",
    paper="arXiv:2601.05242",
    rollout_needs=("rewards", "reward_parts", "reward_weights"),
    clock="rollout",
    reference="TRL 1.16 GRPOTrainer, normalize_then_sum",
    provides={
        "std": "Standard deviation of the weighted sum of normalised rewards, over all ranks.",
        "flat": "Share of the rewards, by prompt group, that are the same for all its completions and teach nothing.",
    },
)
@dataclass(frozen=True)
class GDPO(Advantage):
    """Rewards of several verifiers on one scale each: a rare or small one is not drowned by a large one.

    In the sum that ``grpo`` normalises, two completions with the same total are equal however they came by it. With one reward
    this is ``grpo`` whose advantages are normalised once more, over the generation. ``weight`` of a verifier says what a
    standard deviation of its reward is worth. Inert for a reward that all completions of a prompt share.
    """

    epsilon: float = option(1e-4, above=0.0, fixed=True, doc="added to both standard deviations")

    multi_objective_aggregation = "normalize_then_sum"
    """TRL's own advantages, which these replace, are then the same: what it logs of them is true."""

    def __call__(self, batch: TokenBatch) -> Output:
        parts, weights = batch.require("reward_parts"), batch.reward_weights
        if weights is None or len(weights) != parts.shape[1]:
            raise ValueError(f"gdpo: {parts.shape[1]} rewards need as many weights, not {weights}")
        parts = parts.masked_fill(batch.require("rewards").isnan().unsqueeze(1), torch.nan)
        groups = all_groups(parts, batch.groups, batch.reducer)
        grouped = groups.matrix
        mean, std = torch.nanmean(grouped, dim=1, keepdim=True), nan_std(grouped, dim=1)
        each = groups.flat((grouped - mean) / (std.unsqueeze(1) + self.epsilon))
        total = (each * torch.tensor(weights, dtype=each.dtype, device=each.device)).nansum(dim=1)
        total[each.isnan().all(dim=1)] = torch.nan
        spread = nan_std(total)
        advantages = (total - torch.nanmean(total)) / (spread + self.epsilon)
        there = ~mean.squeeze(1).isnan()
        flat = ((std == 0) & there).sum() / there.sum()
        return torch.nan_to_num(advantages[groups.mine], nan=0.0), {"std": spread, "flat": flat}
