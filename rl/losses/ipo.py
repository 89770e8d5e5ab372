"""IPO of prime-rl: a token counts only while its probability is near that of the engine that sampled it.

    r = exp(l),  l = log pi - log mu,  p = pi, q = mu of the sampled token,  mu: the policy that sampled it
    L_t = -A r [ |p - q| <= threshold ] + square l^2

PrimeIntellect 2026, prime-rl (src/prime_rl/trainer/rl/loss.py, its default loss; no paper). ``dppo`` drops the tokens that
move away; this one drops those that have moved, whatever the sign of the advantage: one that the gradient would bring back is
dropped, too, and is pulled back by the square alone. Not to be confused with Identity Preference Optimisation
(arXiv:2310.12036), which is also called IPO. Threshold 0.1 and square 1e-3 are prime-rl's.

What we changed: prime-rl masks by products, so that one overflowing ratio of a token that does not count makes the loss NaN;
here a dropped token has its square alone, a masked one nothing, and |l| is bounded by ``clamp``. Its advantage coefficient
(adv_tau) is the size of the advantages.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.bounds import Bounded
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.mismatch import behaviour, probabilities
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate


@LOSSES.register(
    "ipo",
    paper="PrimeIntellect 2026",
    needs=("old_logps", "sampler_logps"),
    reference="prime-rl src/prime_rl/trainer/rl/loss.py:164",
    provides={
        "fraction": "Share of tokens that were dropped.",
        "distance": "Mean |p - q| of a token's probability from that under the policy that sampled it.",
        "square": "Mean squared log-ratio to the policy that sampled, nats^2, without its coefficient.",
    },
)
@dataclass(frozen=True)
class IPO(Surrogate):
    """The importance-weighted surrogate on the tokens whose probability is still near the sampler's, and a pull on all.

    The ratio is also the correction for the sampler's log-probs: TRL's own must be off. Inert but for nothing left to drop
    where every generation serves one update and the trainer samples itself: pi is then mu.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    threshold: float = option(0.1, low=0.0, high=1.0, doc="largest |p - q| of a token that counts")
    square: float = option(1e-3, low=0.0, doc="coefficient of the squared log-ratio, also of dropped tokens")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|; no gradient outside")

    holds = "ratio"
    corrects_sampler = True

    def _distance(self, batch: TokenBatch) -> Tensor:
        """(B, T), a constant; 0 where the mask is 0."""
        _, _, p, q = probabilities(batch, behaviour(batch))
        return (p - q).abs()

    def bounded(self, batch: TokenBatch) -> Bounded:
        """The dropped tokens, wherever they were going."""
        a, dropped = batch.token_advantages, self._distance(batch) > self.threshold
        return dropped & (a < 0), dropped & (a > 0)

    def __call__(self, batch: TokenBatch) -> Output:
        log_ratio, distance = batch.difference(behaviour(batch), self.clamp), self._distance(batch)
        dropped, square = distance > self.threshold, log_ratio.square()
        kept = torch.where(dropped, 0.0, log_ratio).exp()
        loss = torch.where(dropped, 0.0, -batch.token_advantages * kept) + self.square * square
        return loss, batch.means(fraction=dropped, distance=distance, square=square)
