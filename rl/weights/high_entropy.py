"""80/20: policy gradient on the high-entropy ('forking') tokens only.

    w_t = 1[ H_t >= quantile(H, 1 - fraction) ]

Wang et al. 2025, Beyond the 80/20 Rule, arXiv:2506.01939, Eq. 4; fraction 0.2. ``rule: quantile`` is TRL 1.16's
``top_entropy_quantile`` (to the digit with ``scope: ranks``). The authors' code keeps the int(fraction N + 0.9999)
largest of a micro-batch (``ceil``), Lp-Reg's fork int(fraction N) (``floor``); both divide by the number of kept
tokens (``denominator: kept``), TRL and we by all tokens.

What we changed: the default threshold is that of the whole generation, from the entropies of the old policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.covariance import token_count
from entropostat.rl.info import SCOPES
from entropostat.rl.needs import when
from entropostat.rl.reduce import quantile, top_mask
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.term import Weight


@WEIGHTS.register(
    "high_entropy",
    paper="arXiv:2506.01939",
    rollout_needs=(when(scope="rollout").needs("old_entropy"),),
    needs=("entropy",),
    reference="Shenzhi-Wang/Beyond-the-80-20-Rule-RLVR core_algos.py:53; Lp-Reg-dev; TRL 1.16 get_high_entropy_mask",
    provides={"fraction": "Share of tokens that keep their policy gradient.", "threshold": "Entropy threshold, nats."},
)
@dataclass(frozen=True)
class HighEntropy(Weight):
    """Train the policy on the most uncertain tokens only; the rest get no policy gradient.

    Penalties are not weighted. Inert at ``fraction: 1``.
    """

    fraction: float = option(0.2, above=0.0, high=1.0, doc="share of tokens kept")
    rule: str = option("quantile", choices=("quantile", "ceil", "floor"), doc="threshold, or exact count rounded")
    denominator: str = option("all", choices=("all", "kept"), doc="tokens that the loss is averaged over")
    scope: str = option("rollout", choices=SCOPES, doc="what the threshold runs over")

    def prepare(self, batch: TokenBatch) -> Stats:
        old = self.scope == "rollout" and batch.old_entropy is not None
        entropy = batch.require("old_entropy") if old else batch.require("entropy")
        valid = batch.valid
        if self.rule == "quantile":
            pooled = batch.reducer.gather(entropy[valid])
            total = pooled.numel()
            threshold = quantile(pooled, 1 - self.fraction) if total else entropy.new_tensor(torch.nan)
            keep = valid & (entropy >= threshold)
        else:
            total = token_count(batch)
            keep = top_mask(
                entropy, valid, int(self.fraction * total + (0.9999 if self.rule == "ceil" else 0.0)), batch.reducer
            )
            pooled = batch.reducer.gather(entropy[keep])
            threshold = pooled.min() if pooled.numel() else entropy.new_tensor(torch.nan)
        scale = torch.ones_like(threshold)
        if self.denominator == "kept":
            scale = total / batch.reducer.sum(keep.sum()).clamp(min=1).to(entropy.dtype)
        return {"keep": keep, "threshold": threshold, "scale": scale}

    def __call__(self, batch: TokenBatch) -> Output:
        keep = batch.stats["keep"].to(batch.logps.dtype)
        return keep * batch.stats["scale"], {**batch.means(fraction=keep), "threshold": batch.stats["threshold"]}
