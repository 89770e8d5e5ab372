"""KL-Cov: hold the tokens of highest covariance near the rollout policy.

    P_t = coef |log pi_t - log pi_old_t|  on the max(1, int(fraction N)) tokens of largest Cov_t, else 0

Cui et al. 2025, The Entropy Mechanism of RL, arXiv:2505.22617, Sec. 4.2, Eq. 13-14, Listing 1. Eq. 14 writes a KL;
Listing 1 and both released codes use the absolute log-ratio, which is our default. The base loss of the method has no
clip: use ``loss: {unclipped: {}}``. Default size: paper, its scripts and verl's scripts 1.0 (verl's config says 0.1).

What we changed: the reference pools one micro-batch of one rank and the current log-probs (``scope: micro``); the
default pools the generation over all ranks, with the log-probs of the old policy. ``fraction`` is a fraction: the first
release counts in percent.

Inert, exactly, when each generation serves one update: then log pi = log pi_old. The penalty is an L1 norm: its gradient
has full size however small the difference is.

As others have it, by the functions of their releases on one mini-batch of 64 completions x 512 tokens (benchmarks/forks.py; what
else differs: benchmarks/results/forks.md). Sum of |gradient| of the penalty in units of the policy's, with the defaults of each and
with ours; and the share of the selected tokens whose covariance is among the largest of the mini-batch, in micro-batches of 64, 8
and 1 completions:

                 defaults ours     64       8        1          fraction, coef   penalty averaged
    verl 0.9.1   2.5e-05  0.0027   1        0.44     0.12       2e-4, .1         as the loss is
    SkyRL 0.3.0  8,997    89       1        0.44     0.12       .2, 1            not at all: a sum over tokens
    here         0.0027   0.0027   0.91     0.91     0.91       2e-3, 1          as the loss is

SkyRL divides its advantages by all tokens first, and not the penalty, which is then almost all of the gradient. Here the selection
is by the old policy's log-probs, hence .91 by those of the current one. TRL 1.16 has no KL-Cov.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.covariance import token_count, token_covariance
from entropostat.rl.info import SCOPES
from entropostat.rl.measured import Mean
from entropostat.rl.needs import when
from entropostat.rl.reduce import top_mask
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.term import TokenPenalty


@PENALTIES.register(
    "kl_cov",
    paper="arXiv:2505.22617",
    needs=("old_logps",),
    rollout_needs=(when(scope="rollout").needs("old_logps"),),
    reference="PRIME-RL/Entropy-Mechanism-of-RL core_algos.py:426; verl core_algos.py:1556",
    provides={
        "fraction": "Share of tokens that carry the penalty.",
        "distance": "Mean |log pi - log pi_old| over the selected tokens, nats.",
    },
)
@dataclass(frozen=True)
class KLCov(TokenPenalty):
    """Penalise the distance to the rollout policy on the tokens with the highest covariance.

    Needs more than one update per generation. There is no sign test: with all-equal advantages every covariance is 0 and
    the first tokens are selected.
    """

    fraction: float = option(2e-3, above=0.0, high=0.5, doc="share of tokens (paper: 2e-3 for 7B, 2e-4 for 32B)")
    coef: float = option(1.0, low=0.0, doc="size of the penalty")
    distance: str = option("abs", choices=("abs", "k2", "k3"), doc="abs: the released code; k2, k3: smooth at 0")
    scope: str = option("rollout", choices=SCOPES, doc="what the covariance and the top-k run over")

    policy_term = True

    def prepare(self, batch: TokenBatch) -> Stats:
        count = max(1, int(token_count(batch) * self.fraction))
        return {"selected": top_mask(token_covariance(batch), batch.valid, count, batch.reducer)}

    def __call__(self, batch: TokenBatch) -> Output:
        selected = batch.stats["selected"] & batch.valid
        d = batch.log_ratio
        if self.distance == "abs":
            size = d.abs()
        elif self.distance == "k2":
            size = d.square() / 2
        else:
            # k3 of KL(pi_old || pi) on samples of pi_old: exp(d) - d - 1.
            size = d.clamp(-20, 20).exp() - d.clamp(-20, 20) - 1
        penalty = torch.where(selected, self.coef * size, 0.0)
        return penalty, {
            **batch.means(fraction=selected),
            "distance": Mean.over(d.abs(), selected),
        }
