"""Rejection: tokens or completions that diverge too much from the sampler do not train; what is kept carries no ratio.

    d = log pi_old - log pi_sampler
    k1 = d,    k2 = d^2 / 2,    k3 = exp(d) - 1 - d,       of a token, or their sum, mean or largest over a completion
    kept:  log low <= k1 <= log high,     k2, k3 <= threshold

Liu 2025, When Speed Kills Stability; the masks are those of verl's rollout correction (token_k1 .. seq_max_k3). k1 is a window
on the ratio: of a token, of the product (sum) or of the geometric mean (mean). k2 and k3 are divergences: both directions count
and, unlike in a mean of k1, do not cancel. Several of them in a recipe multiply. The largest k1 is not offered: a window on it
says nothing of the smallest.

What we changed: a token that the sampler finds impossible, or the trainer, is at the bound ``clamp`` of its log-ratio, so it is
rejected; one that the sampler gave no log-prob for counts as one on which both agree.

The defaults are verl's preset ``decoupled_k3_rs`` (k3, its mean over a completion at most 0.01), and for k1 the window
that verl gives sequences.

Not to be confused with rejection sampling, which draws completions anew: here nothing is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.mismatch import inside, sampler_log_ratio
from entropostat.rl.needs import unless, when
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.sequence import row_mean
from entropostat.rl.term import Weight


@WEIGHTS.register(
    "rejection",
    paper="Liu 2025",
    needs=("old_logps", "sampler_logps"),
    reference="verl rollout_corr_helper.py compute_rollout_rejection_mask",
    provides={"fraction": "Share of tokens that were rejected."},
)
@dataclass(frozen=True)
class Rejection(Weight):
    """Reject what trainer and sampler do not agree on: a mask of ones and zeros, beside any correction by ratios.

    Inert where the trainer samples itself: every log-ratio is then 0.
    """

    estimator: str = option("k3", choices=("k1", "k2", "k3"), doc="k1: a window on the ratio; k2, k3: divergences")
    over: str = option("mean", choices=("token", "sum", "mean", "max"), doc="of a token, or of a completion's tokens")
    threshold: float = option(0.01, low=0.0, doc="largest divergence that trains", only=unless(estimator="k1"))
    low: float | None = option(0.5, low=0.0, high=1.0, doc="smallest ratio that trains", only=when(estimator="k1"))
    high: float | None = option(2.0, low=1.0, doc="largest ratio that trains", only=when(estimator="k1"))
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|")

    def __post_init__(self) -> None:
        if self.estimator == "k1" and self.over == "max":
            raise ValueError("rejection.over: max of k1 would leave the smallest ratio free; take k2 or k3, or token")

    def __call__(self, batch: TokenBatch) -> Output:
        kept = self._kept(batch)
        return kept.to(batch.logps.dtype), batch.means(fraction=~kept)

    def _kept(self, batch: TokenBatch) -> Tensor:
        """(B, T) bool."""
        d = sampler_log_ratio(batch).clamp(-self.clamp, self.clamp)
        k = {"k1": d, "k2": d.square() / 2, "k3": d.expm1() - d}[self.estimator]
        if self.over == "sum":
            k = k.sum(1, keepdim=True)
        elif self.over == "mean":
            k = row_mean(k, batch)
        elif self.over == "max":
            k = k.amax(1, keepdim=True)
        if self.estimator == "k1":
            low, high = (None if end is None else math.log(end) if end else -math.inf for end in (self.low, self.high))
        else:
            low, high = None, self.threshold
        return inside(k, low, high).expand_as(batch.mask)
