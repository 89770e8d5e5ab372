"""The policy gradient of the policy that min-p samples from, instead of the whole one's.

With ``sampler.min_p`` completions come from q(k) = pi(k) / pi(S) on the kept set S. The ratio and its gradient are those of pi,
so that the kept mass pi(S) is missing from the score,

    grad log q(a) = grad log pi(a) - sum_{k in S} q(k) grad log pi(k)
    P_t = A_t r_t sum_{k in S} q_old(k) (log pi(k) - log pi_old(k))

P is what takes -A r(pi) to -A r(q), to first order in the change of log pi(S): r is the token's ratio, 0 where a PPO clip has
taken its gradient, S and q_old are the rollout policy's, and P is 0 while the policy is that one. **Exact** in the first update
of a generation, for losses whose gradient is -A grad log pi there (all of the project's), wherever S has at most ``top_k``
entries. Without it each update also pulls mass into S where A > 0 and out of it where A < 0, which the samples say nothing about.

Ours; the observation that truncated sampling and whole log-probs do not belong together is DeepSeek-V3.2's (arXiv:2512.02556, 'keep
sampling mask', which masks the logits of the training pass with the sampler's set).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.special import xlogy

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.soft_labels import packed
from entropostat.rl.term import TokenPenalty
from entropostat.rl.vocab_sums import Wanted


@PENALTIES.register(
    "truncated_policy",
    paper="arXiv:2512.02556",
    needs=("soft_logp",),
    rollout_needs=("min_p_ids", "min_p_probs", "min_p_mass"),
    provides={"labelled": "Share of tokens whose kept set is known."},
)
@dataclass(frozen=True)
class TruncatedPolicy(TokenPenalty):
    """Take the pull on the kept mass out of the policy gradient, where completions are sampled with ``sampler.min_p``.

    Costs a pass over the language-model head per generation and another in every update, and keeps ``top_k`` entries of the
    vocabulary for every token. What weights select, they select here, too.
    """

    min_p: float = option(0.05, above=0.0, high=1.0, fixed=True, doc="that of the sampler block")
    top_k: int = option(64, low=1, doc="entries of the vocabulary that a kept set may hold")

    policy_term = True
    weighted = True
    scope = "rollout"

    @property
    def wanted(self) -> Wanted:
        return Wanted((), min_p=self.min_p, top_k=self.top_k, kept=True, soft=True)

    def prepare(self, batch: TokenBatch) -> Stats:
        q = batch.require("min_p_probs")
        old = xlogy(q, q).sum(2) + torch.where(batch.valid, batch.require("min_p_mass"), 1.0).log()
        return {**packed(batch, batch.valid), "old_soft": torch.where(batch.valid, old, 0.0)}

    def __call__(self, batch: TokenBatch) -> Output:
        positions, probs = batch.stats["soft_positions"], batch.stats["soft_probs"]
        labelled = torch.zeros_like(batch.valid).scatter(1, positions, probs.sum(2) > 0) & batch.valid
        change = torch.where(labelled, batch.require("soft_logp") - batch.stats["old_soft"], 0.0)
        penalty = torch.where(labelled & ~_held(batch), batch.token_advantages * batch.ratio * change, 0.0)
        return penalty, batch.means(labelled=labelled)


def _held(batch: TokenBatch) -> Tensor:
    """(B, T) bool: tokens whose gradient a clip of the loss has taken."""
    if batch.clip is None:
        return torch.zeros_like(batch.valid)
    (low, high), ratio, a = batch.clip, batch.ratio, batch.token_advantages
    return ((a > 0) & (ratio > high)) | ((a < 0) & (ratio < low))
