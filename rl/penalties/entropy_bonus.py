"""Entropy bonus.

    P = -coef * mean_t H_t,   H_t the full-vocabulary entropy at token t, nats, differentiable

Williams and Peng 1991; Mnih et al. 2016, arXiv:1602.01783. ``reduction: trl`` is TRL 1.16's ``entropy_coef`` to the
digit: the mean over the tokens of each micro-batch on each rank. The default divides by the tokens of the whole
accumulation window instead (the generation's tokens shared out evenly, as TRL's dapo does), so that long and short
micro-batches count by their tokens and the world size does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import masked_sum
from entropostat.rl.registry import PENALTIES, option


@PENALTIES.register(
    "entropy_bonus",
    paper="arXiv:1602.01783",
    needs=("entropy",),
    reference="TRL 1.16 entropy_coef",
    provides={"entropy": "Mean token entropy that the bonus acts on, nats."},
)
@dataclass(frozen=True)
class EntropyBonus:
    """Reward the policy for its token entropy. A negative coefficient lowers it.

    On small models 0.1 and more explodes the entropy within a few hundred steps, and an even bonus raises entropy where
    it is cheap, which need not be where the task needs it.
    """

    coef: float = option(0.0, doc="size of the bonus (published: 1e-3 to 1e-2)")
    reduction: str = option("global", choices=("global", "trl"), doc="tokens of the window, or of each micro-batch")

    kind = "scalar"

    def __call__(self, batch: TokenBatch) -> Output:
        entropy = batch.require("entropy")
        total = masked_sum(entropy, batch.mask)
        bonus = total / (batch.require("tokens").clamp(min=1) if self.reduction == "global" else batch.count)
        return -self.coef * bonus, {"entropy": total.detach() / batch.count}
