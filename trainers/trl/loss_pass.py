"""One micro-batch on its way through the loss, and our parts of that loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from entropostat.rl.batch import Metrics, Stats, TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.parts import weighted
from entropostat.trainers.trl.aggregation import aggregate


@dataclass
class LossPass:
    """What each seam leaves for the next ones. ``batch`` and what follows it are there from the tap on."""

    inputs: dict[str, Any]
    """TRL's slice of its buffer, a copy: what its loss reads, some of it ours."""
    batch: TokenBatch = field(init=False)
    stats: dict[str, Stats] = field(default_factory=dict)
    """Of the rollout phase, by the name of the term."""
    weight: Tensor | None = None
    """(B, T) product of the weights; None without any."""
    each: dict[str, Tensor] = field(default_factory=dict)
    """(B, T) every weight by itself, by the name of the term."""
    metrics: Metrics = field(default_factory=dict)
    values: Tensor | None = None
    """(B, T + 1, K) of the critic, where there is one."""
    parts: dict[str, Tensor] = field(default_factory=dict)
    """Our parts of the loss by name: (B, T) before they are aggregated, or 0-dim."""
    suspects: dict[str, Tensor] = field(default_factory=dict)
    """What may turn out not to be finite, by the key that a user knows it by, in the order of its computation."""


def additive_terms(trainer: Any, objective: Objective, inputs: dict[str, Any], passed: LossPass) -> Tensor | None:
    """Our surrogate, where TRL does not compute it, and the penalties, on the scale of TRL's loss; None without either."""
    batch, parts, name = passed.batch, passed.parts, objective.loss.name
    rho = inputs.get("importance_sampling_ratio")
    steps = micro_batches(trainer)
    total = tokens = None
    if not objective.loss.term.delegated:
        passed.batch = objective.for_loss(batch, passed.stats)
        tokens, metrics = objective.surrogate(passed.batch)
        passed.metrics |= metrics
        passed.suspects[f"loss.{name}"] = tokens
        tokens = tokens if passed.weight is None else tokens * passed.weight
        tokens = parts[name] = tokens if rho is None else tokens * rho
    rho = objective.correction(passed.each, rho)
    for part in objective.penalties:
        value, metrics = objective.penalty(part, batch, passed.stats)
        passed.metrics |= metrics
        passed.suspects[f"penalties.{part.name}"] = value
        if part.term.kind == "scalar":
            parts[part.name] = value = value / steps
            total = value if total is None else total + value
            continue
        value = value if passed.weight is None or not weighted(part) else value * passed.weight
        parts[part.name] = value = value * rho if rho is not None and part.term.policy_term else value
        tokens = value if tokens is None else tokens + value
    if tokens is None:
        return total
    reduced = aggregate(trainer, tokens, inputs, batch.require("tokens"))
    return reduced if total is None else total + reduced


def micro_batches(trainer: Any) -> float:
    """By how many the loss of one is divided."""
    return float(trainer.current_gradient_accumulation_steps) if trainer.model.training else 1.0
