"""Advantage reweighting: tokens that the policy found unlikely count less.

    linear    w = k pi + tau                       tau = 1 - k by default, as in the paper
    sigmoid   w = 2 sigmoid(k (pi - tau))
    band      w = 1 where low < pi <= high, else 0
    A_t <- w A_t on the tokens of ``side``, A_t elsewhere; then times ``negative`` where A_t <= 0

Yang et al. 2025, Do Not Let Low-Probability Tokens Over-Dominate in RL for LLMs, arXiv:2505.12929. pi is the old policy's
probability of the token, a constant. A token's gradient is the larger the less likely it was, so few rare tokens shape the
update; w takes that back. The scripts use ``linear`` with k 0.2, or 0.3 beside Lopti (``lopti``); the configuration file has a
sigmoid on A <= 0 with k 5, tau 0.4. That the paper has tau = 1 - k is not confirmed; the code asks for both.

Of the code's names, ``both_*`` are ``side: both`` (``both_linear_balance1`` is ``positive``), ``negative_sigmoid`` is
``negative``, ``RAFT`` and ``RAFT_linear`` are ``imitate: true``, ``mask_prob_*`` are bands, and ``negative_sigmoid_balance1`` is
``balance: true``: the negative advantages are scaled so that sum pi A is 0 over all tokens. The code sums padding too and
divides by 0 where nothing is negative; here they stay as they are. It cannot take an interval above 4.

Not to be confused with autoregression, AR as well, nor with ``lopti``, the paper's second method.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.needs import when
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before, token_probability
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "ar",
    paper="arXiv:2505.12929",
    rollout_needs=("old_logps",),
    clock="rollout",
    reference="zhyang2226/AR-Lopti ray_trainer.py:318",
    provides={"size": "Mean |A| after it, over the mean |A| before it."},
)
@dataclass(frozen=True)
class AR(Advantage):
    """Damp the advantages of unlikely tokens, whose gradients are the largest.

    Reshapes the advantages before it. With ``linear`` at the default the weights lie between 1 - k and 1: a part of the
    step's length goes, and watch ``size``. Inert at k 0. It moves credit towards what the policy already does.
    """

    method: str = option("linear", choices=("linear", "sigmoid", "band"), doc="how the weight follows pi")
    k: float = option(0.2, low=0.0, doc="slope (scripts 0.2, beside Lopti 0.3; sigmoid 5)")
    tau: float | None = option(
        None, low=0.0, fixed=True, doc="offset of linear, centre of sigmoid; null: 1 - k, at least 0, and 0.4"
    )
    side: str = option("both", choices=("both", "negative", "positive"), doc="sign of the advantages that are weighted")
    negative: float = option(1.0, low=0.0, doc="factor on the tokens with A <= 0")
    balance: bool = option(False, doc="scale A <= 0 until sum pi A is 0")
    imitate: bool = option(False, doc="1 in place of A where A > 0, and 0 elsewhere (RAFT)")
    low: float = option(
        0.0, low=0.0, high=1.0, fixed=True, doc="pi above which the band begins", only=when(method="band")
    )
    high: float = option(
        0.25, low=0.0, high=1.0, fixed=True, doc="pi up to which the band reaches", only=when(method="band")
    )

    tokenwise = True
    reshapes = True

    def __call__(self, batch: TokenBatch) -> Output:
        advantages_before(batch, "ar")
        a, p = torch.where(batch.valid, batch.token_advantages, 0.0), token_probability(batch)
        source = (a > 0).to(a.dtype) if self.imitate else a
        touched = {"both": torch.ones_like(batch.valid), "negative": a <= 0, "positive": a > 0}[self.side]
        weighted = torch.where(touched, self._weight(p) * source, source)
        if self.balance:
            parts = torch.stack([x.sum() for x in (weighted.clamp(min=0) * p, weighted.clamp(max=0) * p)])
            up, down = batch.reducer.sum(parts).unbind()
            both = (up > 0) & (down < 0)
            weighted = torch.where(
                a > 0, weighted, weighted * torch.where(both, -up / torch.where(both, down, 1.0), 1.0)
            )
        weighted = torch.where(a > 0, weighted, weighted * self.negative)
        before, after = batch.reducer.sum(torch.stack([a.abs().sum(), weighted.abs().sum()])).unbind()
        return weighted, {"size": after / before}

    def _weight(self, p: Tensor) -> Tensor:
        if self.method == "band":
            return ((p > self.low) & (p <= self.high)).to(p.dtype)
        if self.method == "sigmoid":
            return 2 * torch.sigmoid(self.k * (p - (0.4 if self.tau is None else self.tau)))
        return self.k * p + (max(1 - self.k, 0.0) if self.tau is None else self.tau)
