"""ASPO: turn the importance ratio of rewarded tokens upside down, so that those which lag behind learn most.

    A >= 0:  c_t = min(r_t, 1 + e_t)     L_t = -A c_t / sg[c_t]^2,       and where 1 / c_t > cap:   L_t = -A cap log pi
    A < 0:   c_t = max(r_t, 1 - e_t)     L_t = -A c_t,                   and where r_t > dual:      L_t = -A dual log pi
    e_t = epsilon_reason where H_t > quantile_q(H of the sequence), else epsilon_know

Wang et al. 2025, ASPO: Asymmetric Importance Sampling Policy Optimization, arXiv:2510.06062. Where A >= 0 the gradient of a
token is 1 / r times that of log pi, where PPO's is r times it: PPO speeds the tokens that have already become likely. Beyond
the bound there is none, as in PPO.

We follow the released code (Archer2.0; the paper's text is not confirmed): bounds of 0.2 and 0.4 on either side, cap and dual
3, quantile 0.8 of the entropies of the current policy, the mean over tokens. Its ``high_entropy_mask`` holds the tokens at or
below the quantile; the bounds are right all the same. Its two caps differ from PPO's dual clip, which stops the gradient: here
a constant weight remains. The value of the loss jumps there, by a factor of log pi; the gradient is continuous.

What we changed: a sequence without tokens has no quantile and no part in any mean, where the code has NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.bounds import Bounded, beyond
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.sequence import row_quantile
from entropostat.rl.term import Surrogate


@LOSSES.register(
    "aspo",
    paper="arXiv:2510.06062",
    needs=("old_logps", "entropy"),
    reference="wizard-III/Archer2.0 core_algos.py:537",
    provides={
        "clip_fraction": "Share of tokens whose gradient the bound of the ratio removed.",
        "cap_fraction": "Share of tokens with A >= 0 whose weight 1 / r was cut to the cap.",
        "dual_fraction": "Share of tokens with A < 0 whose weight r was cut to the dual cap.",
        "reasoning": "Share of tokens above the entropy quantile of their sequence.",
    },
)
@dataclass(frozen=True)
class ASPO(Surrogate):
    """Weigh rewarded tokens by 1 / r instead of r: those that the policy has come to favour count for less, not for more.

    Inert, equal to the plain surrogate, when every generation serves one update: the ratio is then 1.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    quantile: float = option(0.8, above=0.0, below=1.0, doc="entropy quantile of the sequence that divides the tokens")
    epsilon_know: float = option(0.2, above=0.0, doc="A < 0: ratio >= 1 - this, at or below the quantile")
    epsilon_reason: float = option(0.4, above=0.0, doc="A < 0: likewise, above the quantile")
    epsilon_know_high: float | None = option(
        None, above=0.0, doc="A >= 0: ratio <= 1 + this, at or below the quantile; null: epsilon_know"
    )
    epsilon_reason_high: float | None = option(
        None, above=0.0, doc="A >= 0: likewise, above the quantile; null: epsilon_reason"
    )
    cap: float | None = option(3.0, above=1.0, doc="A >= 0: largest weight 1 / r; null: off")
    dual: float | None = option(3.0, above=1.0, doc="A < 0: largest weight r; null: off")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|; no gradient outside")
    floor: float = option(1e4, above=0.0, fixed=True, doc="log pi >= -floor, against -inf only; no gradient below")

    stops_gradient = True
    holds = "ratio"

    def _reasoning(self, batch: TokenBatch) -> Tensor:
        """(B, T) bool: the valid tokens above the quantile of their sequence."""
        entropy = batch.require("entropy").detach()
        return batch.valid & (entropy > row_quantile(entropy, self.quantile, batch))

    def _ratio(self, batch: TokenBatch) -> Tensor:
        """(B, T)."""
        return batch.log_ratio.clamp(-self.clamp, self.clamp).exp()

    def _band(self, batch: TokenBatch, reasoning: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) lowest and highest ratio of a token with a gradient."""
        ends = self.epsilon_know_high, self.epsilon_reason_high
        low = self.epsilon_know, self.epsilon_reason
        high = (given if end is None else end for end, given in zip(ends, low, strict=True))
        (know, reason), (know_high, reason_high) = ((batch.logps.new_tensor(e) for e in side) for side in (low, high))
        return 1 - torch.where(reasoning, reason, know), 1 + torch.where(reasoning, reason_high, know_high)

    def bounded(self, batch: TokenBatch) -> Bounded:
        """The caps aside, beyond which a token keeps a gradient."""
        return beyond(batch, self._ratio(batch), *self._band(batch, self._reasoning(batch)))

    def __call__(self, batch: TokenBatch) -> Output:
        a, ratio, reasoning = batch.token_advantages, self._ratio(batch), self._reasoning(batch)
        bottom, top = self._band(batch, reasoning)
        rewarded = a >= 0
        held = torch.where(rewarded, torch.minimum(ratio, top), torch.maximum(ratio, bottom))
        weight = held / torch.where(rewarded, held, 1.0).detach().square()
        clipped = (held != ratio) & (a != 0)
        logps = batch.difference(batch.logps.new_zeros(()), self.floor)
        capped = rewarded & (1 / held > self.cap) if self.cap is not None else torch.zeros_like(rewarded)
        dual = ~rewarded & (ratio > self.dual) if self.dual is not None else torch.zeros_like(rewarded)
        if self.cap is not None:
            weight = torch.where(capped, self.cap * logps, weight)
        if self.dual is not None:
            weight = torch.where(dual, self.dual * logps, weight)
        shares = {"clip_fraction": clipped, "cap_fraction": capped, "dual_fraction": dual, "reasoning": reasoning}
        return -a * weight, batch.means(**shares)
