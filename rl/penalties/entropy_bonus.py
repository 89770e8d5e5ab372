"""Entropy bonus.

    P = -coef * mean_t s_t H_t,   H_t the full-vocabulary entropy at token t, nats, differentiable

Williams and Peng 1991; Mnih et al. 2016, arXiv:1602.01783, whose coefficient for games is 0.01 (from memory, not confirmed);
runs of language models take 1e-3 to 1e-2, and most none. ``reduction: trl`` is TRL 1.16's ``entropy_coef`` to the
digit: the mean over the tokens of each micro-batch on each rank. The default divides by the tokens of the whole
accumulation window instead (the generation's tokens shared out evenly, as TRL's dapo does), so that long and short
micro-batches count by their tokens and the world size does not matter.

``select: all`` is s = 1. ``select: top`` is ours: s = 1 on the ``top_fraction`` of the generation's tokens at which the old
policy was least certain (threshold and share as in 80/20, arXiv:2506.01939), 0 elsewhere. The mean still runs over all tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.measured import Mean
from entropostat.rl.needs import when
from entropostat.rl.reduce import masked_sum, quantile
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.term import ScalarPenalty


@PENALTIES.register(
    "entropy_bonus",
    paper="arXiv:1602.01783",
    needs=("entropy",),
    rollout_needs=(when(select="top").needs("old_entropy"),),
    reference="TRL 1.16 entropy_coef",
    provides={"entropy": "Mean token entropy that the bonus acts on, nats."},
)
@dataclass(frozen=True)
class EntropyBonus(ScalarPenalty):
    """Reward the policy for its token entropy. A negative coefficient lowers it.

    On small models 0.1 and more explodes the entropy within a few hundred steps, and an even bonus raises entropy where
    it is cheap, which need not be where the task needs it. ``select: top`` keeps it to the tokens that are still decisions
    under the policy that generated; after a collapse those need not be the decisions that the policy began with.
    """

    coef: float = option(0.0, doc="size of the bonus (published: 1e-3 to 1e-2)")
    reduction: str = option("global", choices=("global", "trl"), doc="tokens of the window, or of each micro-batch")
    select: str = option("all", choices=("all", "top"), doc="top: the most uncertain tokens of the generation alone")
    top_fraction: float = option(0.2, above=0.0, high=1.0, doc="share of tokens that select: top keeps")

    @property
    def prepared(self) -> str:
        return "rollout" if self.select == "top" else "never"

    def prepare(self, batch: TokenBatch) -> Stats:
        entropy = batch.require("old_entropy")
        pooled = batch.reducer.gather(entropy[batch.valid])
        threshold = quantile(pooled, 1 - self.top_fraction) if pooled.numel() else entropy.new_zeros(())
        return {"chosen": batch.valid & (entropy >= threshold)}

    def __call__(self, batch: TokenBatch) -> Output:
        entropy, count = batch.require("entropy"), batch.count
        if self.select == "top":
            chosen = batch.stats["chosen"]
            entropy, count = torch.where(chosen, entropy, 0.0), chosen.sum()
        total = masked_sum(entropy, batch.mask)
        bonus = total / (batch.require("tokens").clamp(min=1) if self.reduction == "global" else batch.divisor)
        return -self.coef * bonus, {"entropy": Mean.of(total.detach(), count)}
