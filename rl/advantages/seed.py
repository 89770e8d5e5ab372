"""SEED-GRPO: the less a prompt's answers agree, the smaller its update.

    A_i <- A_i f(x),   x = alpha H / log G  (normalise)  or  alpha H
    inverse: f = 1 / (1 + x)        linear: f = max(1 - x, 0)        exp: f = exp(-x)

    shannon: H = -sum_c p_c log p_c          mc: H = -(1/K) sum_c log p_c          (nats, over the K clusters of equal answers)
    count: p_c = the share of completions    likelihood: p_c = sum over c of softmax_i(mean log-prob of a token of completion i)

SEED-GRPO, arXiv:2505.12346. One factor per prompt: no sign and no ranking within a group changes. log G is the entropy of G
different answers, so alpha is what x is there.

The text of the paper could not be read, so constants and formulas are not confirmed: these are from its abstract and a
review, the released behaviour from a third party that read the code. The paper has the estimator mc, the forms linear and
exp (a third one, "focal", is not known), and the raw likelihood of whole completions, with which H / log G would be in the
hundreds: not offered. The released code has shannon, inverse and likelihood, with an alpha of 0.02 and no log G, or about
0.04 with it: it scales an update by at most 4 %. The defaults are shannon, inverse and count, with an alpha whose effect
can be seen.

Not to be confused with the recipe's ``seed``, which draws random numbers, nor with ``hicra``'s, a list of phrases.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.answers import Answers, answer_entropy, answers_by_group, cluster_shares
from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.needs import when
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before, mean_over, times_per_prompt
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "seed",
    paper="arXiv:2505.12346",
    rollout_needs=("answers", "rewards", when(mass="likelihood").needs("old_logps")),
    clock="rollout",
    reference="liv-daliberti/maxent-grpo src/oat_drgrpo/seed_weights.py, after the released code",
    provides={
        "semantic_entropy": "Entropy of the answers to a prompt, nats, mean over prompts of the generation.",
        "clusters": "Different answers to a prompt, mean over prompts.",
        "weight": "Factor on the advantages of a prompt, mean over prompts.",
        "smallest_weight": "The smallest of them.",
        "unparsed": "Share of completions without an answer key.",
    },
)
@dataclass(frozen=True)
class Seed(Advantage):
    """Damp the update of prompts whose completions disagree about the answer.

    Reshapes the advantages before it, and reads the answer keys of the verifier. Leaves a prompt alone where all answers are the
    same, and one with a single completion. Whole groups, on all ranks; a completion without a reward is in no cluster, and one
    without a token counts for log G alone.
    """

    alpha: float = option(1.0, low=0.0, doc="strength: x where all answers differ (released code about 0.04)")
    normalise: bool = option(True, doc="divide H by log G; without it alpha is per nat (released code 0.02)")
    mass: str = option("count", choices=("count", "likelihood"), doc="what a completion adds to its cluster")
    estimator: str = option("shannon", choices=("shannon", "mc"), doc="of the entropy over clusters")
    form: str = option("inverse", choices=("inverse", "linear", "exp"), doc="the factor as a function of x")
    unparsed: str = option(
        "singleton",
        choices=("singleton", "shared", "drop"),
        doc="completions without an answer: a cluster each, one for all of them, or in none",
    )

    reshapes = True

    def __call__(self, batch: TokenBatch) -> Output:
        before = advantages_before(batch, "seed")
        length = batch.valid.sum(1)
        likely = torch.zeros_like(batch.require("rewards"))
        if self.mass == "likelihood":
            logps = torch.where(batch.valid, batch.require("old_logps"), 0.0)
            likely = logps.sum(1) / length.clamp(min=1)
        found = answers_by_group(batch, likely, length)
        entropy, clusters = self._entropy(found)
        weight = self._factor(entropy, found.scored.sum(1))
        prompts = found.scored.any(1)
        metrics = {
            "semantic_entropy": mean_over(entropy, prompts),
            "clusters": mean_over(clusters, prompts),
            "weight": mean_over(weight, prompts),
            "smallest_weight": torch.where(prompts.any(), torch.where(prompts, weight, torch.inf).min(), torch.nan),
            "unparsed": (found.scored & ~found.parsed).sum() / found.scored.sum(),
        }
        return times_per_prompt(before, weight, found.groups), metrics

    def _entropy(self, found: Answers) -> tuple[Tensor, Tensor]:
        """(P,) nats, and (P,) how many clusters there are."""
        likely, length = found.values.unbind(-1)
        counts = found.scored & (length > 0)
        counts = counts & found.parsed if self.unparsed == "drop" else counts
        lost = found.scored & ~found.parsed
        alone = torch.eye(lost.shape[1], dtype=torch.bool, device=lost.device) & lost.unsqueeze(1)
        same = found.same | (lost.unsqueeze(2) & lost.unsqueeze(1) if self.unparsed == "shared" else alone)
        mass = likely.nan_to_num().masked_fill(~counts, -torch.inf).softmax(1).nan_to_num()
        size = (same & counts.unsqueeze(1)).sum(2).to(mass.dtype)
        share = torch.where(counts, 1 / size.clamp(min=1), 0.0)  # of its cluster
        clusters = share.sum(1)
        if self.estimator == "shannon":
            return answer_entropy(mass, same), clusters
        return -torch.special.xlogy(share, cluster_shares(mass, same)).sum(1) / clusters.clamp(min=1), clusters

    def _factor(self, entropy: Tensor, size: Tensor) -> Tensor:
        """(P,)."""
        largest = size.to(entropy.dtype).log() if self.normalise else torch.ones_like(entropy)
        x = torch.where(size > 1, self.alpha * entropy / largest, 0.0)
        if self.form == "linear":
            return (1 - x).clamp(min=0)
        return torch.exp(-x) if self.form == "exp" else 1 / (1 + x)
