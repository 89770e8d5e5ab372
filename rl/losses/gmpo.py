"""GMPO: the geometric mean of token ratios, clipped token by token in log space.

    c_t = s min(s d_t, s clip(d_t, -epsilon, epsilon_high)),  d = log pi - log pi_old,  s = sign A_t
    L_i = -A_i exp(mean_t c_t),     A_i = mean_t A_t

Zhao et al. 2025, Geometric-Mean Policy Optimization, arXiv:2507.20673; its clip is exp(+-0.4) by TRL's documentation,
not confirmed in the paper. We follow verl, where epsilon bounds the log-ratio. verl's aggregation is fixed: the mean
over all rows, in which fully masked rows count; ours are TRL's normalisers, of which grpo, the default, leaves them
out. TRL has the method as a trainer of its own (``trl.experimental.gmpo``), which takes none of our terms.

What we changed: the loss is written per token, L_t = -A_i sg[exp(mean c)] exp(c_t - sg c_t). Value and gradient under
the mean per sequence are the same, and a token weight of 0 stops exactly its token. The sampler's correction
multiplies each token, where verl multiplies the sequence by the geometric mean of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from entropostat.rl.batch import LIMIT, Output, TokenBatch
from entropostat.rl.bounds import Bounded, beyond
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.sequence import row_mean
from entropostat.rl.term import Surrogate

DIVISOR = 1e-8
"""verl adds this to the token count under the mean of c; it shows where the ratio is huge."""


@LOSSES.register(
    "gmpo",
    paper="arXiv:2507.20673",
    needs=("old_logps",),
    reference="verl core_algos.py:1636",
    provides={
        "outside_up": "Share of tokens with A > 0 whose log-ratio is outside the band.",
        "outside_down": "Share of tokens with A < 0 whose log-ratio is outside the band.",
        "ratio": "Mean geometric-mean ratio, over tokens.",
    },
)
@dataclass(frozen=True)
class GMPO(Surrogate):
    """The policy gradient on a geometric mean of ratios, which one far token cannot dominate.

    The clip is inert when every generation serves one update: every ratio is then 1.
    """

    type: str = option("grpo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    epsilon: float = option(0.4, above=0.0, doc="lower clip of the token's log-ratio, nats (verl: 0.2)")
    epsilon_high: float | None = option(None, above=0.0, doc="upper clip of the log-ratio; null: epsilon")

    stops_gradient = True
    holds = "ratio"

    @property
    def _band(self) -> tuple[float, float]:
        """The clip of the log-ratio."""
        return -self.epsilon, self.epsilon if self.epsilon_high is None else self.epsilon_high

    @property
    def clip(self) -> tuple[float, float]:
        low, high = self._band
        return math.exp(low), math.exp(high)

    def bounded(self, batch: TokenBatch) -> Bounded:
        return beyond(batch, batch.log_ratio.clamp(-LIMIT, LIMIT), *self._band)

    def __call__(self, batch: TokenBatch) -> Output:
        a, d = batch.token_advantages, batch.log_ratio.clamp(-LIMIT, LIMIT)
        sign, bounded = a.sign(), d.clamp(*self._band)
        c = sign * torch.minimum(sign * d, sign * bounded)
        c = torch.where(batch.valid, c, 0.0)
        ratio = (row_mean(c, batch, DIVISOR).detach() + c - c.detach()).exp()
        outside = bounded != d
        metrics = batch.means(outside_up=outside & (a > 0), outside_down=outside & (a < 0), ratio=ratio.detach())
        return -row_mean(a, batch) * ratio, metrics
