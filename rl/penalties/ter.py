"""Targeted entropy (TER): pull the mean token entropy towards a target, from both sides.

    P = coef |H - target|,   H the token mean of the full-vocabulary entropy, nats, differentiable

Confucius3-Math, arXiv:2506.18330, Sec. 6.1: target 0.55, coef 0.001, in the first of its three stages only. No training
code is released.

What we changed: the absolute value of a mean is not the mean of absolute values, so the formula on each micro-batch
(``scope: micro``) pulls short and long ones, and ranks, in different directions at once. By default the side is decided
once per generation, from the entropy of the old policy over all ranks, and P = side coef (H - target) with side = +1 above
the target, -1 below, 0 on it. That is the formula's gradient on the whole batch until the updates of one generation cross
the target. H divides by the tokens of the accumulation window, as ``entropy_bonus`` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.needs import when
from entropostat.rl.reduce import masked_mean, masked_sum
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.term import ScalarPenalty


@PENALTIES.register(
    "ter",
    paper="arXiv:2506.18330",
    needs=("entropy",),
    rollout_needs=(when(scope="rollout").needs("old_entropy"),),
    provides={
        "entropy": "Mean token entropy that the penalty acts on, nats.",
        "side": "1 where the penalty lowers entropy, -1 where it raises it.",
    },
)
@dataclass(frozen=True)
class TER(ScalarPenalty):
    """Push entropy down above a target and up below it, always with the same small force.

    Inert exactly on the target and at ``coef: 0``. The force does not grow with the distance: with a large ``coef`` entropy
    swings about the target (watch ``side``), with a small one it loses against the policy gradient. Until the next
    generation it is an ``entropy_bonus`` of size ``coef`` or ``-coef``.
    """

    coef: float = option(1e-3, low=0.0, doc="size of the penalty (paper: 1e-3)")
    target: float = option(0.55, low=0.0, doc="mean token entropy to hold, nats (paper: 0.55)")
    scope: str = option("rollout", choices=("rollout", "micro"), doc="what the side of the target is decided on")

    def prepare(self, batch: TokenBatch) -> Stats:
        entropy = batch.require("old_entropy" if self.scope == "rollout" else "entropy")
        above = masked_mean(entropy, batch.mask, batch.reducer) - self.target
        return {"side": torch.where(above.isnan(), above, above.sign())}  # NaN, which pushes nowhere, without a token

    def __call__(self, batch: TokenBatch) -> Output:
        entropy, side = batch.require("entropy"), batch.stats["side"]
        tokens = batch.require("tokens").clamp(min=1) if self.scope == "rollout" else batch.divisor
        distance = masked_sum(entropy - self.target, batch.mask) / tokens
        return self.coef * side.nan_to_num() * distance, {**batch.means(entropy=entropy), "side": side}
