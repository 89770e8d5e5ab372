"""Unlikeliness reward: of right completions, the ones that the policy finds likely earn less.

    r'_i = r_i (1 - beta rank_i / G),     rank 0 .. G-1 by ascending log-probability, 0 the least likely of the prompt
    A_i = (r'_i - mean_g) / (std_g + epsilon)

He, Fried and Welleck 2025, Rewarding the Unlikely, arXiv:2506.02355. All members of a group are ranked, wrong ones too; with
rewards of 0 and 1 only right ones pay. The released code ranks by the mean log-prob of a completion's tokens (``by: mean``);
that the paper ranks by the probability of the whole sequence (``by: sum``) is not confirmed. Under both the likeliest keeps
1 - beta (G - 1) / G. beta is 0.25 in the example of the code.

What we changed: completions of equal log-prob share the mean of their ranks, where the code's order is that of the sort. A
completion without a token has no log-prob (NaN in the code, where it takes the highest rank): it is left out of the ranking
and of the statistics, and gets 0. So does one without a reward, and a group of one, which keeps its raw reward in the code.

Not to be confused with unlikelihood training (arXiv:1908.04319), which lowers the probability of chosen tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.measured import Mean
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "unlikeliness",
    paper="arXiv:2506.02355",
    rollout_needs=("rewards", "old_logps"),
    clock="rollout",
    reference="AndreHe02/rewarding-unlikely-release ray_lean_trainer.py",
    provides={"discount": "Mean part of the reward that likeliness takes, over completions with a reward above 0."},
)
@dataclass(frozen=True)
class Unlikeliness(Advantage):
    """Group-normalised rewards, of which likely right completions get less: for pass@k, where right answers repeat.

    A base estimator in place of ``grpo``. It trains prompts that are always right, too, towards their rarer answers. Meant
    for rewards of 0 and 1: a negative reward would shrink where it is likely. At ``beta: 0`` it is ``grpo``.
    """

    beta: float = option(0.25, low=0.0, high=1.0, doc="part of the reward that the likeliest of a large group loses")
    by: str = option("mean", choices=("mean", "sum"), doc="log-prob that ranks: of a token, or of the whole sequence")
    epsilon: float = option(1e-6, above=0.0, fixed=True, doc="added to the standard deviation (released code 1e-6)")

    compares = False
    """Equal rewards differ by their ranks."""

    def __call__(self, batch: TokenBatch) -> Output:
        likeliness = _likeliness(batch, self.by)
        rewards = torch.where(batch.valid.any(1), batch.require("rewards"), torch.nan)
        groups = all_groups(torch.stack([rewards, likeliness], dim=1), batch.groups, batch.reducer)
        earned, likely = groups.matrix.unbind(2)
        modified = earned * (1 - self.beta * _ranks(earned, likely))
        centred = modified - torch.nanmean(modified, dim=1, keepdim=True)
        count = (~modified.isnan()).sum(1, keepdim=True).to(modified.dtype)
        std = (torch.nansum(centred.square(), dim=1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
        # One alone is its own mean, but for rounding that a deviation of 0 would blow up.
        advantages = torch.where(count > 1, centred / (std + self.epsilon), 0.0)
        mine, paid = groups.own(modified), rewards > 0
        discount = torch.where(paid, 1 - mine / torch.where(paid, rewards, 1.0), 0.0)
        return torch.nan_to_num(groups.own(advantages), nan=0.0), {"discount": Mean.over(discount, paid)}


def _likeliness(batch: TokenBatch, by: str) -> Tensor:
    """(B,) old log-prob of a completion, or of its mean token; finite, and 0 without tokens."""
    logps = torch.nan_to_num(batch.require("old_logps"), nan=0.0, posinf=0.0, neginf=-1e6)
    total = torch.where(batch.valid, logps, 0.0).sum(1)
    return total if by == "sum" else total / batch.mask.sum(1).clamp(min=1)


def _ranks(earned: Tensor, likely: Tensor) -> Tensor:
    """(P, G) share of the scored members of the group that are less likely, half for each that is equally so."""
    scored = ~earned.isnan()
    below = (likely.unsqueeze(1) < likely.unsqueeze(2)) & scored.unsqueeze(1)
    level = (likely.unsqueeze(1) == likely.unsqueeze(2)) & scored.unsqueeze(1)
    ranks = below.sum(2) + (level.sum(2) - 1) / 2
    return ranks.to(earned.dtype) / scored.sum(1, keepdim=True).clamp(min=1)
