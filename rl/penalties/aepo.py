"""AEPO: pull the policy towards the correct samples of its own, warmer or cooler, self.

    P = -coef / N * sum over tempered completions o of R(o) sum_t log pi(o_t),   R = 1[reward > success]
    T = t_high while H(pi_old) < target, else t_low;   o ~ pi_old at temperature T;   N tokens of all tempered completions

Arbitrary Entropy Policy Optimization, arXiv:2510.08141, from its abstract and README; the paper's body was not read. There
is no importance correction between pi at T and pi: that is the point. The paper's coefficient is not known to us; ours,
with N for the expectation, defaults to the share of such rows in the released scripts (60 of 2,560). ``target`` is 0.5 in
the scripts, 0.75 in the README's table. H is the exact mean token entropy of this generation, over all ranks; the code
uses the sampled negative log-prob of the last update, tempered rows included.

``reference: true`` is the released code: of the completions with a group advantage above ``margin`` the first ``samples``
(half as many while H is above the target) replace as many ordinary rows and get advantage 1 under the loss that is in
force; ``coef`` has no effect, H equal to the target counts as below, and each rank replaces its own first rows. Where
nothing is selected the code fails; here the term is skipped, and counts it.

Not to be confused with two others of that name: Agentic Entropy-Balanced Policy Optimization (arXiv:2510.14545, of ARPO's
authors), which branches rollouts at uncertain tool calls, and the optimiser of ARES (arXiv:2510.08457), here
``rewards/ares`` and ``kl_bucket``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.advantages.grpo import GRPO
from entropostat.rl.batch import Metrics, Output, TokenBatch
from entropostat.rl.measured import Mean
from entropostat.rl.reduce import masked_mean, masked_sum
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.term import SamplingPenalty

IMPOSSIBLE = 1e4
"""Nats from which a token counts as impossible: it has no gradient, and keeps the loss finite."""


@PENALTIES.register(
    "aepo",
    paper="arXiv:2510.08141",
    needs=("extra",),
    rollout_needs=("old_entropy", "rewards"),
    clock="rollout",
    reference="597358816/AEPO ray_trainer.py:783 at b353a05",
    provides={
        "temperature": "Temperature of the extra completions of this generation.",
        "entropy": "Mean token entropy that chose it, nats.",
        "selected": "Share of the extra completions that the term learns from; 0: nothing to learn from.",
        "nll": "Mean negative log-prob of the selected tokens under the policy, nats.",
    },
)
@dataclass(frozen=True)
class AEPO(SamplingPenalty):
    """Move entropy to a target by imitating correct answers sampled hotter or cooler than the policy.

    Costs ``share`` more generation and as many rows in the forward pass as are selected. Two-valued, without a dead band.
    It has no authority where no sampled answer is correct, and little where all are: then both policies agree on what is
    rewarded and only the temperature speaks. Watch ``selected``.
    """

    coef: float = option(0.023, low=0.0, doc="size of the pull; 0: no extra completions are sampled")
    target: float = option(0.5, low=0.0, doc="entropy to hold, nats per token")
    t_high: float = option(1.2, above=0.0, fixed=True, doc="sampling temperature below the target")
    t_low: float = option(0.8, above=0.0, fixed=True, doc="sampling temperature above the target")
    share: float = option(0.25, above=0.0, high=1.0, fixed=True, doc="share of the prompts that are sampled again")
    success: float = option(0.0, fixed=True, doc="reward above which a completion counts as correct")
    reference: bool = option(False, doc="replace ordinary rows, as the released code does")
    samples: int = option(60, low=1, doc="reference: rows that are replaced at most, over all ranks")
    margin: float = option(0.05, low=0.0, fixed=True, doc="reference: group advantage from which a row is selected")

    @property
    def replaces(self) -> bool:
        """Whether selected completions take the place of ordinary ones instead of joining them."""
        return self.reference

    def entropy(self, batch: TokenBatch) -> float:
        """Mean token entropy of the rollout policy, nats, over all ranks; NaN where every completion is masked."""
        return float(masked_mean(batch.require("old_entropy"), batch.mask, batch.reducer))

    def _temperature(self, entropy: float) -> float:
        below = entropy <= self.target if self.reference else entropy < self.target
        return self.t_high if below else self.t_low

    def request(self, batch: TokenBatch) -> float | None:
        """Temperature at which to sample extra completions for this generation, or None: nobody knows the side either
        where nothing was measured."""
        if not (self.coef > 0 or self.reference):
            return None
        entropy = self.entropy(batch)
        return None if math.isnan(entropy) else self._temperature(entropy)

    def select(self, extra: TokenBatch, entropy: float) -> tuple[Tensor, Metrics]:
        """(E,) weight of each extra completion of this rank, from their rewards and groups."""
        rewards = extra.require("rewards")
        chosen = rewards > self.success
        if self.reference:
            advantages, _ = GRPO(epsilon=1e-6)(extra)
            chosen = advantages > self.margin
            uids = extra.require("uids")
            waiting = extra.reducer.gather(uids[chosen]).sort().values
            taken = waiting[: self._allowed(waiting.numel(), entropy)]
            chosen = torch.isin(uids, taken)
        counts = extra.reducer.sum(torch.stack([chosen.sum(), (~rewards.isnan()).sum()]).double())
        metrics = {
            "temperature": counts.new_tensor(self._temperature(entropy)),
            "entropy": counts.new_tensor(entropy),
            "selected": counts[0] / counts[1],
        }
        return chosen.to(extra.logps.dtype), metrics

    def _allowed(self, waiting: int, entropy: float) -> int:
        """``reference``: rows to replace, of those that wait for a place."""
        count = min(self.samples, waiting)
        return count if self._temperature(entropy) == self.t_high else count // 2

    def __call__(self, batch: TokenBatch) -> Output:
        extra = batch.extra
        if extra is None or self.reference:
            return batch.logps.new_zeros(()), {}
        weights = extra.mask * extra.weights.unsqueeze(1)
        total = masked_sum(extra.logps.clamp(min=-IMPOSSIBLE), weights)
        return -self.coef * total / extra.tokens.clamp(min=1), {"nll": Mean.of(-total.detach(), weights.sum())}
