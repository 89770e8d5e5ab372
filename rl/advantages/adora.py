"""ADORA: weigh a prompt by whether long thinking pays there, judged on its own completions.

    length:      longest right completion > mean length of the wrong ones           difficulty:  share of right ones <= tau
    attenuate:   A_i <- w_tds A_i where the criterion fails                         amplify:  A_i <- w_tas A_i where it holds

ADORA, arXiv:2602.10019. A prompt that meets the criterion is "temporarily advantageous", one that fails it disadvantageous. The
paper, of which only reviews were seen, attenuates for vision models by length alone, with 0.1 (the defaults), and amplifies for
language models by both criteria, with 2; that it means both at once is not confirmed, hence ``either``. The released code for
language models attenuates, too.

The two released codes disagree on prompts where a side is missing, which moves nothing while rewards are 0 and 1:

                 no right completion     no wrong one         a wrong one that was cut off by its length
    language     tds                     keep                 does not count
    vision       keep                    tds                  does not count

We keep in both cases: lengths cannot be compared there. The weight is the last thing that happens to a prompt's advantages.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.needs import when
from entropostat.rl.reduce import Groups, all_groups
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before, mean_over, times_per_prompt
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "adora",
    paper="arXiv:2602.10019",
    rollout_needs=("rewards", "truncated"),
    clock="rollout",
    reference="ShadeCloak/ADORA verl core_algos.py:110, experience_maker_vl.py:1260",
    provides={
        "advantageous": "Share of prompts that meet the criterion.",
        "weight": "Factor on the advantages of a prompt, mean over prompts.",
        "longest_right": "Tokens of the longest right completion of a prompt, mean over prompts that have one.",
        "mean_wrong": "Mean tokens of the wrong completions that count, mean over prompts that have one.",
    },
)
@dataclass(frozen=True)
class Adora(Advantage):
    """Shrink the update of prompts where the right completions are the short ones, or enlarge that of the others.

    Reshapes the advantages before it, one factor per prompt. Lengths are in tokens that the policy produced.
    """

    mode: str = option("attenuate", choices=("attenuate", "amplify"), doc="which prompts are weighted")
    w_tds: float = option(0.1, low=0.0, doc="weight of a prompt that fails the criterion", only=when(mode="attenuate"))
    w_tas: float = option(2.0, low=0.0, doc="weight of a prompt that meets it", only=when(mode="amplify"))
    criteria: str = option(
        "length",
        choices=("length", "difficulty", "both", "either"),
        doc="what a prompt must meet (paper: length for vision, both for language models)",
    )
    tau: float = option(0.5, low=0.0, high=1.0, fixed=True, doc="difficulty: at most this share is right")
    success: float = option(0.5, fixed=True, doc="a completion is right where its reward is above this")
    exclude_truncated: bool = option(True, doc="wrong completions that were cut off by their length do not count")
    no_correct: str = option(
        "keep", choices=("keep", "tds"), doc="a prompt without a right completion: weight 1, or failed"
    )
    no_incorrect: str = option(
        "keep", choices=("keep", "tds"), doc="a prompt without a wrong one that counts: weight 1, or failed"
    )

    reshapes = True

    def __call__(self, batch: TokenBatch) -> Output:
        before = advantages_before(batch, "adora")
        groups, longest, wrong, rate = self._measured(batch)
        met, kept = self._meets(longest, wrong, rate)
        one = torch.ones_like(longest)
        weight = torch.where(met, self.w_tas, one) if self.mode == "amplify" else torch.where(met, one, self.w_tds)
        weight = torch.where(kept, one, weight)
        prompts = ~rate.isnan()
        metrics = {
            "advantageous": mean_over(met.to(longest.dtype), prompts),
            "weight": mean_over(weight, prompts),
            "longest_right": mean_over(longest, ~longest.isnan()),
            "mean_wrong": mean_over(wrong, ~wrong.isnan()),
        }
        return times_per_prompt(before, weight, groups), metrics

    def _measured(self, batch: TokenBatch) -> tuple[Groups, Tensor, Tensor, Tensor]:
        """The groups, and (P,) longest right completion, mean length of the wrong ones, and share of right ones; NaN without any."""
        rewards = batch.require("rewards").double()
        cut = batch.require("truncated").double() if self.exclude_truncated else torch.zeros_like(rewards)
        columns = torch.stack([rewards, batch.valid.sum(1).double(), cut], dim=1)
        groups = all_groups(columns, batch.groups, batch.reducer)
        rewards, length, cut = groups.matrix.unbind(-1)
        right = rewards > self.success
        wrong = (rewards <= self.success) & (cut == 0)
        longest = torch.where(right, length, -torch.inf).amax(1)
        mean = torch.where(wrong, length, 0.0).sum(1) / wrong.sum(1)
        rate = right.sum(1) / (~rewards.isnan()).sum(1)
        return groups, torch.where(right.any(1), longest, torch.nan), mean, rate

    def _meets(self, longest: Tensor, wrong: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        """(P,) bool: the criterion holds; and it does not apply, as the lengths of one side are missing."""
        length, difficulty = longest > wrong, rate <= self.tau
        met = {"length": length, "difficulty": difficulty, "both": length & difficulty, "either": length | difficulty}
        none_right, none_wrong = longest.isnan(), ~longest.isnan() & wrong.isnan()
        kept = (none_right & (self.no_correct == "keep")) | (none_wrong & (self.no_incorrect == "keep"))
        return met[self.criteria], kept & (self.criteria != "difficulty")
