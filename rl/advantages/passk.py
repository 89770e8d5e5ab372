"""Pass@k training: the advantage of a completion in groups of k drawn from its prompt's n, in closed form.

    P = 1 - C(n-c, k) / C(n, k),  s = sqrt(P (1 - P))
    right:  A = (1 - P) / (s + epsilon)
    wrong:  A = (1 - P - C(n-c-1, k-1) / C(n-1, k-1)) / (s + epsilon)

Chen et al. 2025, Pass@k Training, arXiv:2508.10751; the released code in full. c of the n completions are right; P is the
unbiased pass@k, and the advantage the mean over all k-subsets that contain the completion. k = 1 is GRPO with the
population's standard deviation. The code calls a reward of exactly 1 right; we call one of at least ``threshold`` right.

verl's estimator of that name (only the best of a group gets the gap to the second best) is another method: ``passk_best``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "passk",
    paper="arXiv:2508.10751",
    rollout_needs=("rewards",),
    clock="rollout",
    reference="RUCAIBox/Passk_Training passk_adv.py",
    provides={"pass_at_k": "Unbiased pass@k of the generation, mean over prompts."},
)
@dataclass(frozen=True)
class PassK(Advantage):
    """Train for at least one right completion in k, instead of for the mean.

    Inert where no completion of a group is right, and where fewer than k are wrong: pass@k of that prompt is already 1.
    In a group with fewer than k members, k is the size of the group.
    """

    k: int = option(4, low=1, doc="completions of which one must be right; below num_generations")
    threshold: float = option(1.0, fixed=True, doc="a completion is right where its reward is at least this")
    epsilon: float = option(1e-6, above=0.0, fixed=True, doc="added to the standard deviation (released code 1e-6)")

    def __call__(self, batch: TokenBatch) -> Output:
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        rewards = groups.matrix
        scored = ~torch.isnan(rewards)
        right = scored & (rewards >= self.threshold)
        n = scored.sum(1).to(torch.float64)
        c = right.sum(1).to(torch.float64)
        k = n.clamp(max=self.k)
        failed = _subsets(n - c, k, n)
        # The share of the (k-1)-subsets of the others in which all are wrong, too.
        others = _subsets(n - c - 1, k - 1, n - 1)
        spread = (failed * (1 - failed)).sqrt() + self.epsilon
        good, bad = failed / spread, (failed - others) / spread
        flat = torch.where(right, good.unsqueeze(1), bad.unsqueeze(1))
        flat = torch.where(scored & (c > 0).unsqueeze(1), flat, 0.0)
        present = n > 0
        pass_at_k = torch.where(present, 1 - failed, 0.0).sum() / present.sum()
        return groups.own(flat).to(rewards.dtype), {"pass_at_k": pass_at_k}


def _subsets(m: Tensor, k: Tensor, n: Tensor) -> Tensor:
    """C(m, k) / C(n, k) for 0 <= k <= n: the chance that k drawn of n are all among the m. 0 where m < k."""
    possible = (m >= k) & (m >= 0)
    m, k, n = (torch.where(possible, x, 0.0).clamp(min=0) for x in (m, k, n))
    ratio = (m + 1).lgamma() - (m - k + 1).lgamma() - (n + 1).lgamma() + (n - k + 1).lgamma()
    return torch.where(possible, ratio.exp().clamp(max=1.0), 0.0)
