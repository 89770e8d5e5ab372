"""The two phases of an objective without a trainer, shared by every engine that hands over its batches: once per generation,
and once per micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from entropostat.rl.batch import Metrics, Stats, TokenBatch
from entropostat.rl.info import State
from entropostat.rl.measured import merged
from entropostat.rl.objective import Objective, Rollout
from entropostat.rl.reduce import LOCAL
from entropostat.rl.thermostat import Thermostat


@dataclass(frozen=True)
class Computed:
    """A generation whose advantages and statistics are there."""

    batch: TokenBatch
    """As the advantages saw it."""
    rollout: Rollout
    metrics: dict[str, float]
    """What its signals and its terms say of it."""
    memory: dict[str, State]
    """Of the terms of the slot ``rewards``, this generation included."""


def computed(thermostat: Thermostat, batch: TokenBatch, memory: dict[str, State]) -> Computed:
    """Rewards, advantages and statistics of a generation that one process sees whole; controllers of a generation see it, too."""
    objective = thermostat.objective
    judged = batch if batch.unshaped is None else batch.set(rewards=batch.unshaped)
    metrics = {f"signal/{name}": value for name, value in thermostat.note_generation(judged).items()}
    if objective.rewards:
        rewarded = objective.reward(batch, memory, learn=True)
        memory, batch = rewarded.memory, batch.set(rewards=rewarded.rewards)
        metrics |= merged(rewarded.metrics, LOCAL)
    rollout = objective.rollout(batch)
    return Computed(batch, rollout, metrics | merged(rollout.metrics, LOCAL), memory)


def whole_loss(
    objective: Objective, batch: TokenBatch, stats: Mapping[str, Stats], mean: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Metrics]:
    """0-dim, with gradient: token losses and penalties by ``mean``, (B, T) -> 0-dim, and the penalties that are one number."""
    tokens, metrics = objective.token_loss(batch, stats)
    loss = mean(tokens)
    for scalar in (one for one in objective.penalties if one.term.kind == "scalar"):
        value, more = objective.penalty(scalar, batch, stats)
        loss, metrics = loss + value, metrics | more
    if not loss.requires_grad:  # nothing here depends on the policy, and whoever calls takes a gradient
        loss = loss + batch.logps.masked_fill(batch.invalid | batch.valid, 0.0).sum()
    return loss, metrics
