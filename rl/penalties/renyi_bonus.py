"""Bonus on the Renyi or the Tsallis entropy of order 2.

    Renyi:    H_2 = -log sum_j p_j^2          Tsallis:  T_2 = 1 - sum_j p_j^2 (the Gini index)
    P = -coef * mean_t H_2(t)

Both weigh the likely tokens more than Shannon's entropy does, so that a long tail of improbable tokens earns little. The
definitions are textbook (Renyi 1961; Tsallis 1988); no published run of a language model with them is known to us.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import masked_sum
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.term import ScalarPenalty


@PENALTIES.register(
    "renyi_bonus",
    paper="Renyi 1961; Tsallis 1988",
    needs=("sum_p2",),
    provides={"entropy": "Mean entropy of order 2 that the bonus acts on; nats for Renyi, a probability for Tsallis."},
)
@dataclass(frozen=True)
class RenyiBonus(ScalarPenalty):
    """Reward the policy for its entropy of order 2. A negative coefficient lowers it.

    Costs one more pass over the language-model head. Inert at ``coef: 0`` and for a decided policy, whose slope is 0.
    """

    coef: float = option(0.0, doc="size of the bonus")
    family: str = option("renyi", choices=("renyi", "tsallis"), doc="-log sum p^2, or 1 - sum p^2")

    def __call__(self, batch: TokenBatch) -> Output:
        sum_p2 = batch.require("sum_p2").masked_fill(batch.invalid, 1.0)
        entropy = -sum_p2.log() if self.family == "renyi" else 1 - sum_p2
        total = masked_sum(entropy, batch.mask)
        return -self.coef * total / batch.require("tokens").clamp(min=1), batch.means(entropy=entropy)
