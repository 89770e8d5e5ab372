"""Kimi k1.5's length reward: among the completions of a prompt the short ones earn, the long ones pay.

    s = 1/2 - (len - min) / (max - min) over the group;   0 where all have one length
    r <- r + coef s where right, else r + coef min(0, s)

Kimi k1.5, arXiv:2501.12599, section on the length penalty: min and max are those of all completions of the prompt, right or
wrong; it is added with a weight and brought in late, as it slows the start: give ``coef`` a ``schedule``. The weight is not
published. A wrong answer is never rewarded for being short.

open-r1's ``len_reward`` has this formula over all completions that a process scores at once, so that the prompts of a batch
compete, and counts characters. ``reference: true`` does the same over the whole generation, on any number of processes; the release's
range would depend on that number. A prompt without a readable reference counts as right there; here it has no score, and keeps none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.difficulty import BY, DECIDES, decided
from entropostat.rl.measured import Mean
from entropostat.rl.needs import when
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import REWARDS, option
from entropostat.rl.sequence import lengths_of
from entropostat.rl.term import Reward


@REWARDS.register(
    "group_length",
    paper="arXiv:2501.12599",
    rollout_needs=(
        "unshaped",
        when(right="judge").needs("judged"),
        when(reference=False).needs("lengths"),
        when(reference=True).needs("texts"),
    ),
    clock="rollout",
    provides={
        "added": "Mean of what is added.",
        "spread": "Mean difference between the longest and the shortest completion of a group, tokens.",
        "flat": "Share of the groups whose completions all have one length, which get nothing.",
    },
)
@dataclass(frozen=True)
class GroupLength(Reward):
    """Shorter answers, measured against the other tries at the same prompt: no length is too long by itself.

    Added to the reward so far. A group that is all right is then decided by length alone, where its advantages are divided by a
    deviation, however small ``coef`` is: that is what shortens, and what hurts where the policy still learns the task.
    """

    coef: float = option(1.0, low=0.0, doc="size of the whole: at most half of it is added or taken")
    right: str = option("judge", choices=BY, doc=DECIDES)
    success: float = option(
        0.5, fixed=True, doc="by the sum a completion is right where its verifiers gave more than this"
    )
    reference: bool = option(False, doc="as open-r1: characters, and one range for all prompts of a generation")

    def __call__(self, batch: TokenBatch) -> Output:
        rewards, scored = batch.require("rewards"), ~batch.require("unshaped").isnan()
        lengths = lengths_of(batch, "characters" if self.reference else "tokens").masked_fill(~scored, torch.nan)
        groups = all_groups(lengths, None if self.reference else batch.groups, batch.reducer)
        shortest = groups.matrix.nan_to_num(torch.inf).amin(1, keepdim=True)
        longest = groups.matrix.nan_to_num(-torch.inf).amax(1, keepdim=True)
        differ, present = longest > shortest, longest >= shortest
        spread = torch.where(differ, longest - shortest, 1.0)
        place = (groups.matrix - torch.where(differ, shortest, 0.0)) / spread
        share = groups.own(torch.where(differ, 0.5 - place, 0.0)).nan_to_num(0.0)
        hit = decided(batch, self.right, self.success)
        added = self.coef * torch.where(hit, share, share.clamp(max=0)).to(rewards.dtype)
        return rewards + added, {
            "added": Mean.over(added, scored),
            "spread": torch.where(differ, longest - shortest, 0.0).sum() / present.sum(),
            "flat": (present & ~differ).sum() / present.sum(),
        }
