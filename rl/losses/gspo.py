"""GSPO: one importance ratio per sequence, clipped per sequence, with a gradient per token.

    s_i = exp(mean_t d_t),  d = log pi - log pi_old,      s_it = sg[s_i] exp(d_t - sg d_t)
    L_t = max(-A s_it, -A clip(s_it, 1 - epsilon, 1 + epsilon_high))

Zheng et al. 2025, Group Sequence Policy Optimization, arXiv:2507.18071; s_it is its GSPO-token form. The value is that
of the sequence ratio; the gradient of token t is -A s_i alone, so that a token weight of 0 stops exactly this token.
``trl`` with ``importance_sampling_level: sequence`` is the paper's own form and takes no token weights: take ``gspo``
with weights or token-level advantages, ``trl`` otherwise.

Paper and verl agree on the formula. verl's clip is 0.2 on both sides unless set; the paper's sizes, which sequence
ratios need, are our defaults. Both average per sequence first, then over sequences: TRL's type grpo, our default.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.bounds import Bounded, beyond
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.sequence import row_mean
from entropostat.rl.term import Surrogate


@LOSSES.register(
    "gspo",
    paper="arXiv:2507.18071",
    needs=("old_logps",),
    reference="verl core_algos.py:1254",
    provides={
        "clip_fraction": "Share of tokens whose sequence ratio the clip cut off.",
        "ratio": "Mean sequence ratio, over tokens.",
    },
)
@dataclass(frozen=True)
class GSPO(Surrogate):
    """The clipped surrogate on the length-normalised ratio of the whole sequence.

    The clip is inert when every generation serves one update: the ratio is then 1. ``clamp`` bounds log s_it from
    above, as verl does at 10; its gradient is 0 beyond.
    """

    type: str = option("grpo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    epsilon: float = option(3e-4, above=0.0, doc="lower clip of the sequence ratio (paper: 3e-4; verl: 0.2)")
    epsilon_high: float = option(4e-4, above=0.0, doc="upper clip of the sequence ratio (paper: 4e-4; verl: 0.2)")
    clamp: float = option(10.0, above=0.0, high=80.0, fixed=True, doc="upper bound of the log of the sequence ratio")

    stops_gradient = True
    holds = "ratio"
    by_sequence = True

    def bounded(self, batch: TokenBatch) -> Bounded:
        ratio = row_mean(batch.log_ratio, batch).clamp(max=self.clamp).exp()
        return beyond(batch, ratio, 1 - self.epsilon, 1 + self.epsilon_high)

    def __call__(self, batch: TokenBatch) -> Output:
        a, d = batch.token_advantages, batch.log_ratio
        ratio = (row_mean(d, batch).detach() + d - d.detach()).clamp(max=self.clamp).exp()
        free = -a * ratio
        clipped = -a * ratio.clamp(1 - self.epsilon, 1 + self.epsilon_high)
        return torch.maximum(free, clipped), batch.means(clip_fraction=clipped > free, ratio=ratio.detach())
