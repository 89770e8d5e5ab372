"""GTPO and GRPO-S: the reward of a token, or of a completion, follows its entropy among the others of its prompt.

    right   r = alpha_1 + alpha_2 n H / sum H                 H of the right completions that are alive at this position
    wrong   r = -(alpha_1 + alpha_2 n (1 / H) / sum 1 / H)    likewise, of the wrong ones
    A = (r - mean) / std over the right tokens of the prompt, and over the wrong ones; 0 where std <= min_std

Tan et al. 2025, GTPO and GRPO-S: Token and Sequence-Level Reward Shaping with Policy Entropy, arXiv:2508.04349. n counts the
completions of which H are summed; a completion is right where its reward is above ``success``. ``level: sequence`` is GRPO-S:
one H a completion, the mean over its tokens, and rows in place of tokens. The equations are second-hand and no code is released:
not confirmed; that the deviation is the population's, and taken of right and wrong apart, is the least certain part.
Apart, a token is compared with tokens of the same sign alone: half of the right ones get a negative advantage, and
nothing says that right is better than wrong. ``normalise: together``, ours, takes mean and deviation over both.

H is the entropy of the policy that generated. It counts as at least 1e-8 nats, under which 1 / H has no bound.

Not to be confused with Group-relative Trajectory-based Policy Optimization, arXiv:2508.03772, also GTPO, which masks the tokens
that right and wrong completions share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.measured import Mean
from entropostat.rl.reduce import rank_of
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import sequence_entropy, token_entropy
from entropostat.rl.returns import scored_tokens
from entropostat.rl.term import Advantage

LEAST = 1e-8


class Shaped(NamedTuple):
    """Rewards of the tokens, or completions, of all ranks."""

    rewards: Tensor
    """(K,)"""
    prompt: Tensor
    """(K,) id of the prompt."""
    right: Tensor
    """(K,) bool."""
    chosen: Tensor
    """(B, T) or (B,) bool: those of this rank, in order."""
    mine: slice
    """Which of the K they are."""

    def own(self, values: Tensor) -> Tensor:
        """(K,) of all ranks -> (B, T) or (B,) of this one, 0 where nothing is chosen."""
        empty = values.new_zeros(self.chosen.shape)
        return empty.masked_scatter(self.chosen, values[self.mine])


@ADVANTAGES.register(
    "gtpo",
    paper="arXiv:2508.04349",
    rollout_needs=("rewards", "old_entropy"),
    clock="rollout",
    provides={"level": "Share of tokens, or completions, whose set has one reward throughout: they learn nothing."},
)
@dataclass(frozen=True)
class GTPO(Advantage):
    """Reward entropy where the answer was right and punish confidence where it was wrong, token by token.

    A base estimator in place of ``grpo``; with ``level: sequence`` GRPO-S. It trains prompts that are always right or always
    wrong, too. Inert for the only right, or only wrong, completion of a prompt, which has nothing to be compared with.
    """

    alpha_1: float = option(1.0, low=0.0, fixed=True, doc="part of the reward that all share")
    alpha_2: float = option(0.1, low=0.0, doc="part that follows entropy")
    level: str = option("token", choices=("token", "sequence"), doc="token: GTPO; sequence: GRPO-S")
    normalise: str = option("apart", choices=("apart", "together"), doc="right and wrong by themselves, or both (ours)")
    success: float = option(0.0, fixed=True, doc="a completion is right where its reward is above this")
    min_std: float = option(1e-6, above=0.0, fixed=True, doc="deviation up to which nothing is learned")

    tokenwise = True
    compares = False

    def __call__(self, batch: TokenBatch) -> Output:
        shaped = self._shaped(batch)
        pools = shaped.prompt * 2 + shaped.right if self.normalise == "apart" else shaped.prompt
        _, at = torch.unique(pools, return_inverse=True)
        mean = _mean(shaped.rewards, at)
        std = _mean((shaped.rewards - mean[at]).square(), at).sqrt()
        flat = std[at] <= self.min_std
        advantages = shaped.own(torch.where(flat, 0.0, (shaped.rewards - mean[at]) / torch.where(flat, 1.0, std[at])))
        level = Mean.over(shaped.own(flat.double()), shaped.chosen)
        if self.level == "sequence":
            advantages = torch.where(batch.valid, advantages.unsqueeze(1), 0.0)
        return advantages.to(batch.logps.dtype), {"level": level}

    def _shaped(self, batch: TokenBatch) -> Shaped:
        rewards, groups = batch.require("rewards"), batch.groups
        groups = torch.zeros_like(rewards).long() if groups is None else groups
        chosen, entropy, place = scored_tokens(batch), token_entropy(batch), torch.zeros_like(rewards)
        if self.level == "sequence":
            chosen, entropy = chosen.any(1), sequence_entropy(batch)
        else:
            place = torch.arange(chosen.size(1), device=chosen.device).expand_as(chosen)
            rewards, groups = (x.unsqueeze(1).expand_as(chosen) for x in (rewards, groups))
        columns = [groups, rewards > self.success, place, entropy, torch.full_like(groups, rank_of(batch.reducer))]
        # Groups may straddle ranks whose completions are padded to other widths: gather tokens, not rows.
        every = batch.reducer.gather(torch.stack([x[chosen].double() for x in columns], dim=1))
        prompt, right, place, entropy, rank = every.unbind(1)
        _, at = torch.unique(torch.stack([prompt, right, place], dim=1), dim=0, return_inverse=True)
        entropy = entropy.clamp(min=LEAST)
        pull = torch.where(right > 0, entropy, 1 / entropy)
        reward = self.alpha_1 + self.alpha_2 * pull / _mean(pull, at)[at]
        start = int((rank < rank_of(batch.reducer)).sum())
        mine = slice(start, start + int(chosen.sum()))
        return Shaped(torch.where(right > 0, reward, -reward), prompt.long(), right.bool(), chosen, mine)


def _mean(values: Tensor, at: Tensor) -> Tensor:
    """(K,) -> mean of each of the sets that ``at`` numbers."""
    size = int(at.max()) + 1 if len(at) else 0
    sums = values.new_zeros(size, 2).index_add(0, at, torch.stack([values, torch.ones_like(values)], dim=1))
    return sums[:, 0] / sums[:, 1]
