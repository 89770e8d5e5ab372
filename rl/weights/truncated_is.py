"""Truncated importance sampling: correct for the sampler's probabilities, by no more than a cap.

    w = min(max(r, low), cap),     r_t = pi_old / pi_sampler,   or the product of a sequence's r_t

Yao 2025, Your Efficient RL Framework Secretly Brings You Off-Policy Training (TIS). The released codes agree but for names:
NeMo-RL ``tis``, slime ``tis_clip`` (2, our default), TRL ``token_truncate`` and ``sequence_truncate``, verl ``rollout_is``.
The product of a long sequence is far from 1 almost surely: ``token`` is the level that all of them start from.

An infinite ratio is that of a token which the sampler finds impossible: NeMo-RL counts it as 0, and so do we, where TRL gives it
the cap, or without one infinity. A token that the sampler gave no log-prob for keeps weight 1 (TRL).

``normalise`` (verl) divides by the mean weight, over tokens or, at level sequence, over sequences: the loss keeps its size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.info import SCOPES
from entropostat.rl.mismatch import ratio_of, sampler_log_ratio, sequence_log_ratio
from entropostat.rl.needs import when
from entropostat.rl.reduce import masked_mean
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.term import Weight

NEAR = 1e-8
"""Below it a mean is no divisor."""


@WEIGHTS.register(
    "truncated_is",
    paper="Yao 2025",
    needs=("old_logps", "sampler_logps"),
    rollout_needs=(when(normalise=True, scope="rollout").needs("old_logps", "sampler_logps"),),
    reference="NeMo-RL loss_functions.py:180; slime loss.py:884; TRL 1.16; verl rollout_corr_helper.py",
    provides={"mean": "Mean weight.", "fraction": "Share of tokens whose ratio was cut off, from either side."},
)
@dataclass(frozen=True)
class TruncatedIS(Weight):
    """Weight every token by how much likelier the trainer's policy finds it than the engine that sampled it, up to a cap.

    Takes the place of TRL's correction, which must be off. Inert where the trainer samples itself: every ratio is then 1.
    """

    cap: float | None = option(2.0, above=0.0, doc="largest weight; null: any")
    low: float | None = option(None, low=0.0, doc="smallest weight; null: 0")
    level: str = option("token", choices=("token", "sequence"), doc="ratio of a token, or product of a sequence's")
    normalise: bool = option(False, doc="divide by the mean weight of the scope")
    scope: str = option("rollout", choices=SCOPES, doc="what the mean runs over", only=when(normalise=True))
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|")

    smooth = True
    corrects_sampler = True

    @property
    def prepared(self) -> str:
        return self.scope if self.normalise else "never"

    def prepare(self, batch: TokenBatch) -> Stats:
        weight, _ = self._weight(batch)
        if self.level == "token":
            mean = masked_mean(weight, batch.mask, batch.reducer)
        else:
            mean = masked_mean(weight[:, :1], batch.valid.any(1, keepdim=True), batch.reducer)
        return {"mean": torch.where(mean > NEAR, mean, 1.0)}

    def __call__(self, batch: TokenBatch) -> Output:
        weight, cut = self._weight(batch)
        if self.normalise:
            weight = weight / batch.stats["mean"]
        return weight, batch.means(mean=weight, fraction=cut)

    def _weight(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """(B, T) before it is normalised, and (B, T) bool where it was cut off."""
        d = sampler_log_ratio(batch)
        if self.level == "token":
            ratio = ratio_of(d, self.clamp)
        else:
            ratio = ratio_of(sequence_log_ratio(d, "product", batch), self.clamp).expand_as(d)
        weight = ratio if self.low is None else ratio.clamp(min=self.low)
        weight = weight if self.cap is None else weight.clamp(max=self.cap)
        return weight, weight != ratio
