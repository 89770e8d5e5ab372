"""Policy-specific hardness weighting: prompts that the policy mostly fails count more.

    A_i = (R_i - mu) (1 + hardness (1 - mu)),   mu = mean of R in the group,   R_i = gain (r_i - center)

Confucius3-Math, arXiv:2506.18330, section 6.2, whose rewards are +1 and -1 and whose weight is written -0.256 mu + 1.256: the same.
It runs from 1 for a solved prompt to 1.512 for a hopeless one. No standard deviation, and the centring comes first. The paper drops
prompts that all completions solve or none does, and sums tokens without a length normaliser, which is the loss's business.

For rewards of 0 and 1 take ``center: 0.5, gain: 2``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "pshw",
    paper="arXiv:2506.18330",
    rollout_needs=("rewards",),
    clock="rollout",
    provides={"weight": "Weight of a prompt, mean over the prompts of the generation."},
)
@dataclass(frozen=True)
class PSHW(Advantage):
    """Reward minus the mean of its prompt group, times a weight that grows as the policy fails the prompt.

    Inert where all rewards of a group are equal. With rewards above 1 the weight can turn negative: scale them to +-1.
    """

    hardness: float = option(0.256, low=0.0, doc="what the weight gains from a mean reward of 1 to one of 0")
    center: float = option(0.0, fixed=True, doc="reward that is neither right nor wrong: 0 for +-1, 0.5 for 0 and 1")
    gain: float = option(1.0, above=0.0, fixed=True, doc="scale of the rewards: 2 for 0 and 1")

    def __call__(self, batch: TokenBatch) -> Output:
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        rewards = self.gain * (groups.matrix - self.center)
        mean = torch.nanmean(rewards, dim=1, keepdim=True)
        weight = 1 + self.hardness * (1 - mean)
        return torch.nan_to_num(groups.own((rewards - mean) * weight), nan=0.0), {"weight": torch.nanmean(weight)}
