"""The baseline of least variance for each token: the group's mean reward, weighted by what the policy gradient has summed up.

    A_it = r_i - sum_j W_jt r_j / sum_j W_jt,     W_it = sum over s <= t of ( 1 - 2 pi(y_s) + sum over the vocabulary of pi^2 )

Li et al. 2026, The Optimal Token Baseline, arXiv:2602.07078. The summand is the squared length of a token's score on the logits,
a stand-in for that on the weights; j runs over the completions of the prompt that are at least t tokens long. Where only one
is, its baseline is its own reward and its advantage 0; verl's later ``handle_zero_tail`` is another way out. Where all weights
are 0, the policy being certain, it is the plain mean of the group; verl adds 1e-8 to the sum of the weights.

What we changed: t counts the tokens of the policy, so tool output takes no place. All of it is the old policy's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.measured import Mean
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES
from entropostat.rl.returns import scored_tokens
from entropostat.rl.term import Advantage

TINY = 1e-12
"""Sums of weights below this are those of a certain policy."""


@ADVANTAGES.register(
    "otb",
    paper="arXiv:2602.07078",
    rollout_needs=("rewards", "old_logps", "sum_p2"),
    clock="rollout",
    reference="verl compute_optimal_token_baseline_advantage",
    provides={
        "tail": "Share of tokens, of completions with a reward, that no other of their prompt reaches: they learn nothing."
    },
)
@dataclass(frozen=True)
class OTB(Advantage):
    """Reward minus a mean of the group that changes from token to token.

    Costs a pass over the vocabulary per generation. Completions that took unlikely tokens so far weigh more in it. Inert where
    all members of a group have the same reward, and on the tail of the longest completion.
    """

    tokenwise = True

    def __call__(self, batch: TokenBatch) -> Output:
        valid = scored_tokens(batch)
        chance = batch.require("old_logps").exp()
        size = torch.where(valid, 1 - 2 * chance + batch.require("sum_p2"), 0.0).clamp(min=0)
        weight = size.cumsum(1).double()
        prompts = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        centred = prompts.own(prompts.matrix - torch.nanmean(prompts.matrix, dim=1, keepdim=True))
        rewards = torch.where(valid, centred.unsqueeze(1), 0.0)
        # Groups may straddle ranks whose completions are padded to other widths: gather tokens, not rows.
        groups = torch.zeros_like(valid[:, 0]).long() if batch.groups is None else batch.groups
        place = valid.cumsum(1) - 1
        columns = [groups.unsqueeze(1).expand_as(place), place, weight, weight * rewards, torch.ones_like(weight)]
        mine = torch.stack([x[valid].double() for x in columns], dim=1)
        every = batch.reducer.gather(mine)
        if not len(every):
            return torch.zeros_like(rewards), {"tail": Mean.over(rewards, valid)}
        group, position, *_ = every.unbind(1)
        width = position.max() + 1
        cells, at = torch.unique(group * width + position, return_inverse=True)
        total, weighted, count = every.new_zeros(len(cells), 3).index_add(0, at, every[:, 2:]).unbind(1)
        baseline = weighted / total.clamp(min=TINY)
        group, position, *_ = mine.unbind(1)
        at = torch.searchsorted(cells, group * width + position)
        alone = count[at] <= 1
        excess = torch.where(alone, 0.0, rewards[valid].double() - baseline[at])
        advantages = torch.zeros_like(rewards).masked_scatter(valid, excess.to(rewards.dtype))
        return advantages, {
            "tail": Mean.over(torch.zeros_like(rewards).masked_scatter(valid, alone.to(rewards.dtype)), valid)
        }
