"""Clip_B: do not punish the tokens whose punishment would lower entropy most.

    S_t = pi_t (H_t + log pi_t)
    w_t = 0 where A_t < 0 and S_t - mean S < -mu std S, else 1

On the Entropy Dynamics in Reinforcement Fine-Tuning, arXiv:2602.03392. -S is the change of entropy per unit of the
token's logit: negative for tokens rarer than exp(-H), whose punishment therefore concentrates the policy. Mean and
population std run over the valid tokens of the generation. The paper states thresholds on both sides, the code drops only
A < 0: we follow the code (paper not confirmed). mu 2.5 is the code's.

The code takes dropped tokens out of the mask, so that the loss averages over the others: ``denominator: kept``. Its
log-probs are the sampler's and its entropies the trainer's; ours are both the old policy's, in the trainer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.info import SCOPES
from entropostat.rl.needs import when
from entropostat.rl.reduce import masked_totals
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.term import Weight


@WEIGHTS.register(
    "clip_b",
    paper="arXiv:2602.03392",
    needs=("entropy",),
    rollout_needs=(when(scope="rollout").needs("old_logps", "old_entropy"),),
    reference="agentscope-ai/Trinity-RFT clipb_advantage.py",
    provides={
        "fraction": "Share of tokens that were taken out of the policy gradient.",
        "mean": "Mean of S over the tokens of the scope.",
        "std": "Population standard deviation of S over the tokens of the scope.",
    },
)
@dataclass(frozen=True)
class ClipB(Weight):
    """Take negative tokens with an extreme entropy discriminator out of the policy gradient.

    One-sided: it can only slow a fall of entropy, never lower it or hold a target. Inert where no advantage is negative,
    and where S is the same on all tokens.
    """

    mu: float = option(2.5, low=0.0, doc="standard deviations below the mean from which a negative token is dropped")
    denominator: str = option("all", choices=("all", "kept"), doc="tokens that the loss is averaged over")
    scope: str = option("rollout", choices=SCOPES, doc="what mean and std run over")

    def prepare(self, batch: TokenBatch) -> Stats:
        old = self.scope == "rollout" and batch.old_entropy is not None
        s = discriminator(batch, batch.require("old_entropy") if old else batch.require("entropy"))
        total, count = masked_totals([s], batch.mask, batch.reducer).unbind()
        mean = total / count  # NaN, which drops nothing, without a token
        squares, _ = masked_totals([(s - mean).square()], batch.mask, batch.reducer).unbind()
        std = (squares / count).sqrt()
        dropped = batch.valid & (batch.token_advantages < 0) & (s - mean < -self.mu * std) & (std >= 1e-12)
        scale = torch.ones_like(mean)
        if self.denominator == "kept":
            scale = count / (count - batch.reducer.sum(dropped.sum()).to(count.dtype)).clamp(min=1)
        return {"dropped": dropped, "mean": mean, "std": std, "scale": scale}

    def __call__(self, batch: TokenBatch) -> Output:
        stats = batch.stats
        weight = (~stats["dropped"]).to(batch.logps.dtype) * stats["scale"].to(batch.logps.dtype)
        return weight, {**batch.means(fraction=stats["dropped"]), "mean": stats["mean"], "std": stats["std"]}


def discriminator(batch: TokenBatch, entropy: Tensor) -> Tensor:
    """(B, T) S = pi (H + log pi) of the sampled token; 0 where the mask is 0. One impossible token has S = 0."""
    logps = torch.where(batch.valid, batch.logps, 0.0).clamp(-1e4, 0.0)
    return torch.where(batch.valid, logps.exp() * (entropy + logps), 0.0)
