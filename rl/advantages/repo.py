"""REPO: take the part of the advantage that goes with the log-probability out of it.

    relative   A > 0: A <- max(A (1 - zeta log pi), 0)     A < 0: A <- min(A (1 + zeta log pi), 0)
    centred    A <- A - beta (log pi + H)

Entropy-Preserving Reinforcement Learning, arXiv:2603.11682: a policy-gradient step lowers entropy as far as advantages and
log-probabilities are correlated. ``relative`` is REPO-R: it keeps every sign, and without the bounds at 0 it is
A - zeta |A| log pi. In ``centred`` H is the exact entropy at the token, so that what is subtracted has mean 0 under the policy;
it acts on tokens of advantage 0 as well, and its expected gradient is ``beta`` times that of the entropy. The formulas are
second-hand, no code is released: not confirmed. Nor are zeta and beta, which are ours.

What we changed: log pi and H are those of the policy that generated, once per generation, and the paper's are the current
policy's. They are the same in the first update. The paper's rule that halves and doubles zeta is the controller ``adapo`` on
this option: ``zeta: {adapo: {target: 0.5, start: 0.05, low: 0.001, high: 0.5, factor: 2}}``.

Not to be confused with Replay-Enhanced Policy Optimization, arXiv:2506.09340, RePO, which trains on completions of
earlier policies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.needs import when
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before, token_entropy, token_logp
from entropostat.rl.returns import scored_tokens
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "repo",
    paper="arXiv:2603.11682",
    rollout_needs=("old_logps", when(rule="centred").needs("old_entropy", "rewards")),
    clock="rollout",
    provides={
        "change": "Mean |change of the advantage| of a token.",
        "emptied": "Share of tokens whose advantage it has set to 0.",
    },
)
@dataclass(frozen=True)
class Repo(Advantage):
    """Pay more for unlikely tokens that were right, and blame them less where they were wrong.

    Reshapes the advantages before it. A positive ``zeta`` or ``beta`` slows the fall of entropy, a negative one speeds it. With
    a large ``zeta`` no token below exp(-1 / zeta) is blamed at all: watch ``emptied``. Inert at 0.
    """

    rule: str = option("relative", choices=("relative", "centred"), doc="relative: REPO-R, keeps signs; centred: REPO")
    zeta: float = option(0.05, doc="share of |A| per nat (ours)", only=when(rule="relative"))
    beta: float = option(0.01, doc="advantage per nat (ours)", only=when(rule="centred"))

    tokenwise = True
    reshapes = True

    @property
    def compares(self) -> bool:
        """The centred rule moves tokens of advantage 0."""
        return self.rule == "relative"

    def __call__(self, batch: TokenBatch) -> Output:
        advantages_before(batch, "repo")
        a, logp = torch.where(batch.valid, batch.token_advantages, 0.0), token_logp(batch)
        if self.rule == "centred":
            new = torch.where(scored_tokens(batch), a - self.beta * (logp + token_entropy(batch)), 0.0)
        else:
            kept = (a - self.zeta * a.abs() * logp) * a.sign()
            new = kept.clamp(min=0) * a.sign()
        emptied = (new == 0) & (a != 0)
        return new, batch.means(change=(new - a).abs(), emptied=emptied.to(a.dtype))
