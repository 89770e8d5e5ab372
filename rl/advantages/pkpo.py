"""PKPO: the unbiased gradient of max@k, the expected best reward of k completions; with rewards of 0 and 1, of pass@k.

    s_i = (k / n) E[max(r_i, r_S)],  S k - 1 of the others          A_i = n s_i - k b_i
    loo_1: b_i = E[max r_S]          loo: b_i = E[max r_T],  T k of the others          none: b_i = 0

Walder and Karkhanis 2025, Pass@K Policy Optimization, arXiv:2505.15201. All expectations are over subsets, in closed form: of n
completions sorted by reward, the one of rank q is the best of m with probability C(q-1, m-1) / C(n, m). For rewards of 0 and 1 and
c right ones, s_i = k/n for a right one and (k/n) (1 - C(n-1-c, k-1) / C(n-1, k-1)) for a wrong one.

The paper's sum of s_i grad log pi is the gradient; a loss here is a mean over completions, hence n s_i. Its baselines are from
memory, not confirmed, and ours are on the scale of n s_i: each depends on the other completions alone, so none adds a bias. Under
loo_1 a completion gets what it adds to the best of k, so wrong ones get exactly 0. ``loo`` needs n > k, and takes n - 1 of the others
where n = k; with k = 1 both are ``rloo``.

``passk`` is the same aim by the mean advantage within subsets, divided by a deviation; ``passk_best`` the case k = n.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import mean_over
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "pkpo",
    paper="arXiv:2505.15201",
    rollout_needs=("rewards",),
    clock="rollout",
    provides={"max_at_k": "Unbiased expected best reward of k completions, mean over prompts of the generation."},
)
@dataclass(frozen=True)
class PKPO(Advantage):
    """Reinforce a completion by what it adds to the best of k, for any rewards.

    Inert where all rewards of a group are equal, unless the baseline is none, and in a group of one. In a group with fewer than k
    members, k is the size of the group.
    """

    k: int = option(4, low=1, doc="completions of which the best counts; below num_generations")
    baseline: str = option("loo_1", choices=("loo_1", "loo", "none"), doc="what is taken off, of the other completions")

    @property
    def compares(self) -> bool:
        return self.baseline != "none"

    def __call__(self, batch: TokenBatch) -> Output:
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        ordered, order = groups.matrix.double().sort(1)  # NaN last
        n = (~ordered.isnan()).sum(1)
        k = n.clamp(max=self.k)
        known = ordered.nan_to_num()
        others = _without_each(known)
        drawn = _chances(n - 1, k - 1, others.shape[2]).unsqueeze(1)
        best = (drawn * torch.maximum(others, known.unsqueeze(2))).sum(2)
        best = torch.where((k > 1).unsqueeze(1), best, known)
        size = {"loo_1": (k - 1).clamp(min=1), "loo": torch.minimum(k, n - 1), "none": torch.zeros_like(k)}
        baseline = (_chances(n - 1, size[self.baseline], others.shape[2]).unsqueeze(1) * others).sum(2)
        trains = ~ordered.isnan() & ((n > 1).unsqueeze(1) if self.compares else True)
        advantages = torch.where(trains, k.unsqueeze(1) * (best - baseline), 0.0)
        reached = (_chances(n, k, known.shape[1]) * known).sum(1)
        back = torch.zeros_like(advantages).scatter(1, order, advantages)
        return groups.own(back).to(groups.matrix.dtype), {"max_at_k": mean_over(reached, n > 0)}


def _without_each(ordered: Tensor) -> Tensor:
    """(P, G) sorted -> (P, G, G - 1): for each, the others in order."""
    width = ordered.shape[1]
    place = torch.arange(width - 1, device=ordered.device).unsqueeze(0)
    kept = place + (place >= torch.arange(width, device=ordered.device).unsqueeze(1))
    return ordered[:, kept]


def _chances(n: Tensor, m: Tensor, width: int) -> Tensor:
    """(P, width) chance of each rank among ``n`` sorted values to be the largest of ``m`` drawn: 0 beyond n, and for m = 0."""
    rank = torch.arange(1, width + 1, dtype=torch.float64, device=n.device)
    n, m = n.double().unsqueeze(1), m.double().unsqueeze(1)
    possible = (m >= 1) & (rank >= m) & (rank <= n)
    q, m, n = torch.where(possible, rank, 1.0), torch.where(possible, m, 1.0), torch.where(possible, n, 1.0)
    log = q.lgamma() - m.lgamma() - (q - m + 1).lgamma()  # C(q - 1, m - 1)
    log = log - (n + 1).lgamma() + (m + 1).lgamma() + (n - m + 1).lgamma()  # over C(n, m)
    return torch.where(possible, log.exp(), 0.0)
