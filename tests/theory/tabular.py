"""Tabular softmax policies whose expectations are exact, and the rate at which one gradient step changes their entropy.

State s takes action a with probability counts[s, a] / N. Each action is one completion, as often as it comes: the uniform
mean over the rows, and every statistic that a term takes of them, is an exact expectation under the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import aggregate

Term = tuple[str, dict[str, Any]]
TOTAL = 60
SEEDS = range(40)
MIN_P = torch.tensor(0.1, dtype=torch.float64)
"""Actions below this share of their state's likeliest one count as noise, for the terms that ask."""


def entropies(logits: Tensor) -> Tensor:
    """(S,) nats."""
    return torch.distributions.Categorical(logits=logits).entropy()


@dataclass(frozen=True)
class Case:
    """One drawn policy and its rewards."""

    counts: Tensor
    """(S, V)"""
    reward: Tensor
    """(S, V)"""

    @property
    def p(self) -> Tensor:
        return self.counts.double() / TOTAL

    @property
    def logits(self) -> Tensor:
        return self.p.log()

    @property
    def centred(self) -> Tensor:
        """(S, V) reward minus its mean in the state: the advantage without any estimator."""
        return self.reward - (self.p * self.reward).sum(1, keepdim=True)

    def all(self) -> tuple[Tensor, Tensor]:
        """State and action of every completion."""
        pairs = torch.cartesian_prod(*(torch.arange(n) for n in self.counts.shape))
        states, actions = torch.repeat_interleave(pairs, self.counts.flatten(), dim=0).unbind(1)
        return states, actions


def draw(seed: int, states: int = 3, actions: int = 6, right: bool = False) -> Case:
    """Peaked and flat states by chance; normal rewards, or with ``right`` rewards of 0 and 1, both in every state."""
    g = torch.Generator().manual_seed(seed)
    p = (1.5 * torch.randn(states, actions, generator=g, dtype=torch.float64)).softmax(1)
    drawn = torch.multinomial(p, TOTAL - actions, replacement=True, generator=g)
    counts = 1 + torch.stack([torch.bincount(row, minlength=actions) for row in drawn])
    reward = torch.randn(states, actions, generator=g, dtype=torch.float64)
    if right:
        reward = (reward > reward.median(1, keepdim=True).values).double()
    return Case(counts, reward)


def pull(logits: Tensor) -> Tensor:
    """(S, V) change of a state's entropy per unit of a policy-gradient step on one sampled action."""
    z = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(entropies(z).sum(), z)
    return slope - (logits.softmax(1) * slope).sum(1, keepdim=True)


def tokens(case: Case, at: Tensor, rows: tuple[Tensor, Tensor], shape: Sequence[int] = (-1, 1)) -> TokenBatch:
    """The completions ``rows`` of the case's policy, seen by the policy with logits ``at``."""
    s, a = rows
    kept = at.detach() >= at.detach().amax(1, keepdim=True) + MIN_P.log()
    mass = (at.softmax(1) * kept).sum(1)
    filtered = torch.where(kept, at.detach().log_softmax(1) - mass.detach().log().unsqueeze(1), -1e4)
    logp, old = at.log_softmax(1), case.logits.log_softmax(1)
    values = {
        "logps": logp[s, a],
        "old_logps": old[s, a],
        "sampler_logps": old[s, a],
        "entropy": entropies(at)[s],
        "old_entropy": entropies(case.logits)[s],
        "sum_p2": logp.exp().square().sum(1)[s],
        "sum_p2_logp": (logp.exp().square() * logp).sum(1)[s],
        "min_p_mass": mass[s],
        "min_p_logp": filtered[s, a],
        "mask": torch.ones(len(s), dtype=torch.float64),
        "advantages": case.centred[s, a],
    }
    baseline = (case.p * case.reward).sum(1)[s].reshape(*shape)
    return TokenBatch(
        **{name: value.reshape(*shape) for name, value in values.items()},
        old_values=torch.nn.functional.pad(baseline, (0, 1)),
        truncated=torch.zeros(len(baseline), dtype=torch.bool),
        rewards=case.reward[s, a],
        answers=tuple(map(str, a.tolist())),
        groups=s,
        tokens=torch.tensor(float(len(s))),
    )


def objective(loss: Term = ("unclipped", {}), **slots: Sequence[Term]) -> Objective:
    lists = {slot: [(kind, kind, options) for kind, options in terms] for slot, terms in slots.items()}
    return Objective.build({"loss": (loss[0], *loss), **lists})


def slopes(
    case: Case,
    *,
    at: Tensor | None = None,
    values: Tensor | None = None,
    rows: tuple[Tensor, Tensor] | None = None,
    shape: Sequence[int] = (-1, 1),
    **slots: Any,
) -> Tensor:
    """(S,) change of each state's entropy per unit of learning rate, by one gradient step of the objective.

    ``at`` are the logits that step, by default the policy that generated. ``values`` (S, V) are the advantages where no
    advantage term makes them, by default the centred rewards. ``rows`` is a sample; by default all completions.
    """
    o, rows = objective(**slots), case.all() if rows is None else rows
    z = (case.logits if at is None else at).clone().requires_grad_()
    given = {} if values is None else {"advantages": values[rows].reshape(*shape)}
    rollout = o.rollout(tokens(case, case.logits, rows, shape).set(**given))
    batch = tokens(case, z, rows, shape).set(advantages=rollout.advantages)
    loss = aggregate(o.token_loss(batch, rollout.stats)[0], batch.mask)
    for part in o.penalties:
        if part.term.kind == "scalar":
            loss = loss + o.penalty(part, batch, rollout.stats)[0]
    (down,) = torch.autograd.grad(loss, z)
    (up,) = torch.autograd.grad(entropies(z).sum(), z)
    return -(down * up).sum(1)


def gain(case: Case, **changes: Any) -> Tensor:
    """(S,) what weights, penalties or a loss add to the slopes of the same step without them."""
    shared = {key: value for key, value in changes.items() if key not in ("weights", "penalties", "loss")}
    return slopes(case, **changes) - slopes(case, **shared)
