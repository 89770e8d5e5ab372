"""FIPO: weigh a token by how much likelier the policy has since made what follows it.

    F_t = sum over k >= t of gamma^(k - t) d_k,   d = log pi - log pi_old,   gamma = 2^(-1 / half_life)
    w_t = clip(exp F_t, 1, 1 + clip_range), or with high_only: false  clip(exp F_t, 1 - clip_range, 1 + clip_range)
    and where A_t < 0 and r_t > safety:  w_t = clip(w_t, 0.8, 1)

FIPO, future KL, arXiv:2603.19835, by which w is a factor on the advantage (second-hand, not confirmed): the same thing, as w is
not negative. We follow ms-swift's ``loss_type fipo``: half-life 32, clip_range 0.2, high_only, safety 4. Its ``delta`` does two
things: tokens whose ratio is beyond it add nothing to F, the option here, and the loss is capped, ``dual`` of ``ppo_clip``
or ``delta`` of ``trl``. Masked tokens add 0 and count in the distance.

What we changed: there a clip_range of 0 switches the clip off, here null does, and 0 is w = 1. Without it exp F of a few hundred
tokens overflows there, and inf times an advantage of 0 is NaN; here F is at most ``clamp``.

Not to be confused with a KL to a reference: F is signed, and of the policy that generated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.returns import discounted
from entropostat.rl.term import Weight

SAFE = (0.8, 1.0)
"""Where a punished token that has become much likelier is held, as in the code."""


@WEIGHTS.register(
    "fipo",
    paper="arXiv:2603.19835",
    needs=("old_logps",),
    reference="modelscope/ms-swift grpo_trainer.py:899",
    provides={
        "future_kl": "Mean discounted log-ratio of the tokens from each token on, nats.",
        "mean": "Mean weight.",
        "safe_fraction": "Share of tokens held by ``safety``.",
    },
)
@dataclass(frozen=True)
class FIPO(Weight):
    """Credit for the future: tokens whose continuation the last updates have favoured count for more, or others for less.

    Inert when every generation serves one update: all ratios are then 1. With ``high_only`` a token counts for more or as
    before, never for less, so that the step grows by the mean weight.
    """

    half_life: float = option(32.0, above=0.0, doc="tokens after which a later token counts half")
    clip_range: float | None = option(0.2, low=0.0, doc="how far the weight may be from 1; null: no bound but clamp")
    high_only: bool = option(True, doc="no weight below 1, but for safety")
    safety: float | None = option(
        4.0, above=0.0, doc="ratio above which a token of A < 0 has a weight of 0.8 to 1; null: off"
    )
    delta: float | None = option(None, above=0.0, doc="tokens with a ratio above it add nothing; null: all add")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="clip_range null: upper bound of F")

    smooth = True
    """The weight moves with the current log-probs; as it is detached, the loss has no derivative by differences."""

    def _future(self, batch: TokenBatch) -> Tensor:
        """(B, T) F."""
        d = batch.log_ratio
        if self.delta is not None:
            d = torch.where(d.exp() > self.delta, 0.0, d)
        return discounted(d, 2 ** (-1 / self.half_life))

    def _unsafe(self, batch: TokenBatch) -> Tensor:
        """(B, T) bool: punished, and yet much likelier than when it was generated."""
        if self.safety is None:
            return torch.zeros_like(batch.valid)
        return batch.valid & (batch.token_advantages < 0) & (batch.ratio > self.safety)

    def __call__(self, batch: TokenBatch) -> Output:
        future, unsafe = self._future(batch), self._unsafe(batch)
        weight = future.clamp(max=self.clamp).exp()
        if self.clip_range is not None:
            weight = weight.clamp(1.0 if self.high_only else 1 - self.clip_range, 1 + self.clip_range)
        weight = torch.where(unsafe, weight.clamp(*SAFE), weight)
        weight = torch.where(batch.valid, weight, 1.0)
        return weight, batch.means(future_kl=future, mean=weight, safe_fraction=unsafe)
