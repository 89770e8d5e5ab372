"""Lopti: one pass over the generation for the tokens that the policy found unlikely, the next for the others.

    first pass    w = 1 where pi_old < threshold, else 0
    second pass   w = 1 where pi_old >= threshold, else 0

Yang et al. 2025, Do Not Let Low-Probability Tokens Over-Dominate in RL for LLMs, arXiv:2505.12929. pi_old is the probability of
the token under the policy that generated; a threshold of 0.4 in the script. With ``portion`` the threshold is that quantile of
pi_old over the tokens of the generation. Both passes divide by all tokens, and the old log-probs are those of before the
first, so the second is off-policy: as in the code. There a negative threshold or portion is ``order: high_first``.

What does not fit: the code keeps the KL and entropy terms to the tokens of the pass, too (``kl_entropy_mask``). Here a
penalty never sees what a weight selects, and acts on all tokens in both passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.reduce import quantile
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.reshaping import token_probability
from entropostat.rl.term import Weight

ALTERNATE = ("low_first", "high_first")


@WEIGHTS.register(
    "lopti",
    paper="arXiv:2505.12929",
    rollout_needs=("old_logps",),
    reference="zhyang2226/AR-Lopti ray_trainer.py fit",
    provides={
        "fraction": "Share of tokens with a policy gradient in this pass.",
        "low": "Share of tokens below the threshold.",
        "threshold": "Probability that parts the tokens.",
    },
)
@dataclass(frozen=True)
class Lopti(Weight):
    """Train unlikely tokens first, and the likely ones on what that has left of their probabilities.

    Needs an even ``trainer.num_iterations``: with one pass only half of it would happen. ``order: low`` and ``high`` keep
    one part in every pass. Inert, but for a lost pass, where all tokens lie on one side of the threshold.
    """

    threshold: float = option(0.4, low=0.0, high=1.0, fixed=True, doc="probability below which a token is unlikely")
    portion: float | None = option(
        None, low=0.0, high=1.0, fixed=True, doc="share of the tokens that is unlikely, in place of the threshold"
    )
    order: str = option("low_first", choices=(*ALTERNATE, "low", "high"), doc="which part has a gradient in which pass")
    scope: str = option("rollout", choices=("rollout",), doc="what the portion is taken of")

    @property
    def passes(self) -> int:
        return 2 if self.order in ALTERNATE else 1

    def prepare(self, batch: TokenBatch) -> Stats:
        p = token_probability(batch)
        pooled = batch.reducer.gather(p[batch.valid])
        threshold = p.new_tensor(self.threshold if pooled.numel() else torch.nan)
        if self.portion is not None and (pooled := pooled[pooled > 0]).numel():
            threshold = quantile(pooled, self.portion)
        return {"low": batch.valid & (p < threshold), "threshold": threshold}

    def __call__(self, batch: TokenBatch) -> Output:
        low, dtype = batch.stats["low"], batch.logps.dtype
        second = batch.iteration % self.passes == 1
        kept = low if self.order.startswith("low") is not second else batch.valid & ~low
        means = batch.means(fraction=kept.to(dtype), low=low.to(dtype))
        return kept.to(dtype), {**means, "threshold": batch.stats["threshold"]}
