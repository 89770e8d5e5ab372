"""The words that terms, recipes and trainers share, and what a registration says of a term. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from entropostat.rl.needs import Need

SLOTS = ("rewards", "advantages", "weights", "loss", "penalties", "scalars", "data")
"""Of an objective. Controllers are no slot: they stand in place of a term's number."""

Clock = Literal["step", "rollout"]

Scope = Literal["micro", "ranks", "rollout"]
"""micro: this micro-batch on this rank. ranks: this micro-step on all ranks. rollout: the whole generation."""
SCOPES: tuple[Scope, ...] = get_args(Scope)

Holds = Literal["ratio", "weight", "nothing"]
"""What the bounds of a loss hold: the ratio of a token, the constant weight of its gradient, or nothing."""

State = dict[str, float]
"""What a term remembers; JSON-able. In a controller's ``output`` is its value, and always there."""

LARGEST_REWARD = 1e15
"""In size. Training computes in float32: squares of larger ones overflow, and beside them small ones are lost."""


@dataclass(frozen=True)
class Info:
    """What a term's registration says of it."""

    slot: str
    name: str
    paper: str
    needs: tuple[Need, ...]
    """Batch fields read in the loss."""
    rollout_needs: tuple[Need, ...]
    """Batch fields read once per generation."""
    clock: Clock
    """When a controlled option is resolved: before an optimizer step, or before a generation."""
    reference: str
    provides: Mapping[str, str]
    """Metric -> its meaning."""
