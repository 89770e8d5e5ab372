"""Clip_V: Clip_B with the discriminator centred on its mean under the policy of each state.

    D_t = E S - S_t,   S_t = pi_t (H_t + log pi_t),   E S = sum_j p_j S_j = H sum p^2 + sum p^2 log p
    w_t = 0 where A_t < 0 and D_t > mu std D, at most max(int(max_fraction N), 1) tokens, those of largest D; else 1

On the Entropy Dynamics in Reinforcement Fine-Tuning, arXiv:2602.03392. -D is, to first order, the entropy change per unit of
a policy-gradient step on the token. std is taken around the mean of D, the threshold is not: in expectation D is 0. mu 8.5 and
max_fraction 1e-4 are the defaults that the code runs with (its constructor says mu 2.0; paper not confirmed).

``reference: true`` is the code's treatment of A = 0: such tokens fall under the threshold too, and the cap does not bring
them back. They have no gradient either way; with ``denominator: kept`` they change the average.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.dynamics import mean_entropy_slope
from entropostat.rl.reduce import masked_totals, top_mask
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.term import Weight
from entropostat.rl.weights.clip_b import discriminator


@WEIGHTS.register(
    "clip_v",
    paper="arXiv:2602.03392",
    needs=("entropy",),
    rollout_needs=("old_logps", "old_entropy", "sum_p2", "sum_p2_logp"),
    reference="agentscope-ai/Trinity-RFT clipv_advantage.py",
    provides={
        "fraction": "Share of tokens that were taken out of the policy gradient.",
        "std": "Standard deviation of D over the tokens of the scope.",
    },
)
@dataclass(frozen=True)
class ClipV(Weight):
    """Take the few negative tokens whose punishment would lower entropy most out of the policy gradient.

    One-sided, like ``clip_b``. Costs one more pass over the language-model head per generation. Inert where no advantage is
    negative.
    """

    mu: float = option(8.5, low=0.0, doc="standard deviations of D from which a negative token is dropped")
    max_fraction: float = option(1e-4, low=0.0, high=1.0, doc="share of tokens that may be dropped, at least one token")
    denominator: str = option("all", choices=("all", "kept"), doc="tokens that the loss is averaged over")
    reference: bool = option(False, doc="treat tokens of advantage 0 as the released code does")
    scope: str = option("rollout", choices=("rollout",), doc="what std and cap run over")

    def prepare(self, batch: TokenBatch) -> Stats:
        entropy = batch.require("old_entropy")
        centre = mean_entropy_slope(entropy, batch.require("sum_p2"), batch.require("sum_p2_logp"))
        d = torch.where(batch.valid, centre - discriminator(batch, entropy), 0.0)
        total, count = masked_totals([d], batch.mask, batch.reducer).unbind()
        squares, _ = masked_totals([(d - total / count).square()], batch.mask, batch.reducer).unbind()
        std = (squares / count).sqrt()  # NaN, which drops nothing, without a token
        beyond = batch.valid & (d > self.mu * std)
        dropped = beyond & (batch.token_advantages < 0)
        neutral = beyond & (batch.token_advantages == 0)
        asked = dropped | neutral if self.reference else dropped
        if int(batch.reducer.sum(asked.sum())) > self.max_fraction * float(count):
            dropped = top_mask(d, dropped, max(int(self.max_fraction * float(count)), 1), batch.reducer)
        if self.reference:
            dropped = dropped | neutral
        scale = torch.ones_like(std)
        if self.denominator == "kept":
            scale = count / (count - batch.reducer.sum(dropped.sum()).to(count.dtype)).clamp(min=1)
        return {"dropped": dropped, "std": std, "scale": scale}

    def __call__(self, batch: TokenBatch) -> Output:
        stats = batch.stats
        weight = (~stats["dropped"]).to(batch.logps.dtype) * stats["scale"].to(batch.logps.dtype)
        return weight, {**batch.means(fraction=stats["dropped"]), "std": stats["std"]}
