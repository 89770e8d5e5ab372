"""MaxRL: the advantage relative to the mean reward of the prompt, so that rare successes count more.

    A_i = (r_i - mean_g) / mean_g,     0 for the whole group where mean_g <= 0

Maximum Likelihood Reinforcement Learning, arXiv:2602.02710. With rewards of 0 and 1 the mean is the success rate p: a success
counts (1 - p) / p, a failure -1, and one success among G counts G - 1. Dividing by p instead of by sqrt(p (1 - p)), as GRPO
does, follows the log of the pass rate. Same as prime-rl's ``max_rl``.

SkyRL's ``maxrl`` adds ``epsilon`` to the mean and divides by whatever the sum is: a negative mean turns the sign of the whole
group, so that the better completion is pushed down, and a group of one keeps its raw reward. ``reference: true`` is that
code, but for its NaN where the sum is 0, which is 0 here.

Not to be confused with maximum-entropy reinforcement learning, which is ``entropy_bonus``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.term import Advantage

ROUNDING = 1e-6
"""Of the mean |reward|: a mean that is smaller is what rounding leaves of rewards that cancel."""


@ADVANTAGES.register(
    "maxrl",
    paper="arXiv:2602.02710",
    rollout_needs=("rewards",),
    clock="rollout",
    reference="PrimeIntellect-ai/prime-rl max_rl.py; NovaSky-AI/SkyRL ppo_utils.py:1397",
    provides={"positive": "Share of prompts whose mean reward is above 0: the others give no gradient."},
)
@dataclass(frozen=True)
class MaxRL(Advantage):
    """Reward minus the mean of its prompt group, divided by that mean: hard prompts that are solved once weigh most.

    For rewards that are not negative. Inert where no completion of a group has a reward, and where all have the same. The
    largest advantage is the size of the group less 1: lower the learning rate, or clip, with large groups. A
    group with one member gives 0.
    """

    epsilon: float = option(0.0, low=0.0, fixed=True, doc="added to the mean (prime-rl 0, SkyRL 1e-6)")
    reference: bool = option(False, doc="divide by a negative mean too, and leave a group of one its reward (SkyRL)")

    def __call__(self, batch: TokenBatch) -> Output:
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        rewards = groups.matrix.double()
        mean, size = (torch.nanmean(x, dim=1, keepdim=True) for x in (rewards, rewards.abs()))
        positive = mean > ROUNDING * size
        divisor = mean + self.epsilon
        used = divisor != 0 if self.reference else positive
        advantages = torch.where(used, (rewards - mean) / torch.where(used, divisor, 1.0), 0.0)
        if self.reference:
            lonely = (~rewards.isnan()).sum(1, keepdim=True) == 1
            advantages = torch.where(lonely, rewards, advantages)
        flat = groups.own(advantages).to(groups.matrix.dtype)
        share = positive.sum() / (~mean.isnan()).sum()
        return torch.nan_to_num(flat, nan=0.0), {"positive": share}
