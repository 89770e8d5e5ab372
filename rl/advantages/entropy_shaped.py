"""Entropy-shaped advantages: more credit where the policy was uncertain.

    A_t <- A_t + min(alpha H_t, |A_t| / kappa)

Cheng et al. 2025, Reasoning with Exploration: An Entropy Perspective, arXiv:2506.14758. H is a constant: no gradient goes
through it. The bound keeps the sign of A for kappa > 1 and makes the bonus vanish with the advantage. Defaults alpha 0.4
and kappa 2 (for PPO: alpha 0.1) are from memory and not confirmed; the baseline in SIREN's code uses kappa 1.

What we changed: H is the entropy of the old policy, once per generation, as all statistics of the rollout phase; SIREN's
code takes that of the current policy. With one update per generation they are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before, token_entropy
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "entropy_shaped",
    paper="arXiv:2506.14758",
    rollout_needs=("old_entropy",),
    clock="rollout",
    reference="Linn3a/siren dp_actor.py:430",
    provides={"bonus": "Mean addition to the advantage of a token."},
)
@dataclass(frozen=True)
class EntropyShaped(Advantage):
    """Raise the advantage of high-entropy tokens by at most a share of its own size.

    Wrong completions are punished less on their uncertain tokens, right ones rewarded more. Inert where the advantage or
    the entropy is 0, and at ``alpha: 0``. It moves credit between tokens and is no controller of entropy.
    """

    alpha: float = option(0.4, low=0.0, doc="size of the bonus per nat (not confirmed: 0.4 for GRPO, 0.1 for PPO)")
    kappa: float = option(2.0, low=1.0, doc="the bonus is at most |A| / kappa (not confirmed: 2)")

    tokenwise = True
    reshapes = True

    def __call__(self, batch: TokenBatch) -> Output:
        advantages_before(batch, "entropy_shaped")
        a = torch.where(batch.valid, batch.token_advantages, 0.0)
        bonus = torch.minimum(self.alpha * token_entropy(batch), a.abs() / self.kappa)
        return a + bonus, batch.means(bonus=bonus)
