"""Group-relative advantages.

    A_i = (r_i - mean_g) / (std + epsilon)

Shao et al. 2024, DeepSeekMath, arXiv:2402.03300, Sec. 4.1.2. ``scale`` chooses the std: of the prompt group (the
paper), of the whole batch (arXiv:2508.08221), or none. Same arithmetic as TRL 1.16, bit for bit; verl adds 1e-6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups, nan_std
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "grpo",
    paper="arXiv:2402.03300",
    rollout_needs=("rewards",),
    clock="rollout",
    reference="verl compute_grpo_outcome_advantage; TRL 1.16 GRPOTrainer",
    provides={"std": "Mean standard deviation of the reward within a prompt group."},
)
@dataclass(frozen=True)
class GRPO(Advantage):
    """Reward minus the mean of its prompt group, divided by a standard deviation.

    Inert where all members of a group have the same reward: advantages are 0. A completion that nothing could score
    (NaN reward) gets 0 and stays out of the mean. A group with one member gives 0; verl gives it its reward.
    """

    scale: str = option("group", choices=("group", "batch", "none"), doc="which standard deviation divides")
    epsilon: float = option(1e-4, above=0.0, fixed=True, doc="added to the standard deviation (TRL 1e-4, verl 1e-6)")

    @property
    def scale_rewards(self) -> str:
        return self.scale

    def __call__(self, batch: TokenBatch) -> Output:
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        rewards = groups.matrix
        mean = torch.nanmean(rewards, dim=1, keepdim=True)
        std = nan_std(rewards, dim=1)
        advantages = rewards - mean
        if self.scale == "group":
            advantages = advantages / (std.unsqueeze(1) + self.epsilon)
        elif self.scale == "batch":
            advantages = advantages / (nan_std(rewards) + self.epsilon)
        flat = groups.own(advantages)
        return torch.nan_to_num(flat, nan=0.0), {"std": torch.nanmean(std)}
