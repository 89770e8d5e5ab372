"""How the head is made that gives ``log_z``, the log of the partition function of each prompt. No torch."""

from __future__ import annotations

from dataclasses import dataclass

POOLS = ("mean", "last")
"""mean: over the tokens of the prompt; last: the token before the completion."""


@dataclass(frozen=True)
class Partition:
    """A perceptron on the policy's last hidden states of a prompt. Defaults are those of the term that asks for it."""

    layers: int
    """Linear ones; 1: no hidden layer."""
    pool: str
    """One of POOLS."""
    detach: bool
    """Its error does not train the policy's backbone."""
    learning_rate: float | None
    """None: the policy's."""
