"""A KL to the reference whose size depends on how hard the prompt is.

    P_t = coef beta_d k3(log pi - log ref),   d = easy, medium or hard: the bucket of the prompt (difficulty.py)

The KL control of ARES, arXiv:2510.08457, whose betas are moved by a ``log_beta`` controller each, on the signals
``kl_bucket/kl_easy``, ``kl_bucket/kl_medium`` and ``kl_bucket/kl_hard``. The released code takes the mean over sequences of
each one's token mean; here the loss's own normaliser averages the tokens. It keeps a controller's state per rank, so that ranks
drift apart; ours is one, and in the checkpoint. It also lowers the KL of wrong answers of easy prompts, by columns that it has
not selected: never, and here not at all. The gradient is k3's own, which is that of the forward KL at pi = pi_old: see ``kl_ref``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Metrics, Output, Stats, TokenBatch
from entropostat.rl.difficulty import BUCKETS, prompt_bucket
from entropostat.rl.divergences import k3
from entropostat.rl.measured import Mean
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.sequence import row_mean
from entropostat.rl.term import TokenPenalty


@PENALTIES.register(
    "kl_bucket",
    paper="arXiv:2510.08457",
    needs=("ref_logps",),
    rollout_needs=("unshaped",),
    reference="shawn0728/ARES @146620e workers/actor/dp_actor.py:61",
    provides={
        f"kl_{name}": f"KL to the reference on {name} prompts, k3, mean over completions of their token means, nats."
        for name in BUCKETS
    },
)
@dataclass(frozen=True)
class KLBucket(TokenPenalty):
    """Hold the policy to the reference by prompts it solves, prompts it half solves and prompts it does not.

    Buckets are counted once per generation, over all ranks. Costs one reference model. Give each of ``easy``, ``medium`` and
    ``hard`` a controller, or three numbers.
    """

    coef: float = option(0.01, low=0.0, doc="size of the penalty at a beta of 1")
    easy: float = option(1.0, low=0.0, doc="beta of prompts of which two thirds of the completions are right")
    medium: float = option(1.0, low=0.0, doc="beta of those of which a third is")
    hard: float = option(1.0, low=0.0, doc="beta of the others")
    clamp: float = option(10.0, above=0.0, high=80.0, fixed=True, doc="bound of |log pi - log ref|")
    success: float = option(0.5, fixed=True, doc="a completion is right where its verifiers gave more than this")

    policy_term = False
    scope = "rollout"

    def prepare(self, batch: TokenBatch) -> Stats:
        return {"bucket": prompt_bucket(batch, self.success)}

    def __call__(self, batch: TokenBatch) -> Output:
        value = k3(batch.difference(batch.require("ref_logps"), self.clamp))
        level, known = batch.stats["bucket"], batch.valid.any(1)
        beta = value.new_tensor([self.easy, self.medium, self.hard, 0.0])[level]  # the last: nothing was scored
        means = row_mean(value.detach(), batch).squeeze(1)
        told: Metrics = {f"kl_{name}": Mean.over(means, (level == i) & known) for i, name in enumerate(BUCKETS)}
        return self.coef * beta.unsqueeze(1) * torch.where(batch.valid, value, 0.0), told
