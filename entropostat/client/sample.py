"""What a loop hands over: sequences of any lengths, and what it knows of each.

Positions before the first token of the policy are cut off, so that a prompt in front, or none, is the same completion.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Rollout

Row = Tensor | Sequence[float]
"""(T,) one number a position."""

CARRIED = {
    "old_logps": "old_logps",
    "sampler_logps": "sampler_logps",
    "ref_logps": "ref_logps",
    "old_entropy": "old_entropy",
    "planning": "planning",
    "token_ids": "token_ids",
    "pieces": "pieces",
    "answers": "answer",
    "truncated": "truncated",
    "rewards": "reward",
    "unshaped": "reward",
    "groups": "group",
    "advantages": "advantages",
}
"""Batch field -> where it lies in a ``Sample``."""


@dataclass(frozen=True)
class Sample:
    """One sequence of T positions; what is (T,) is a 1-D tensor or a list. Log-probabilities and entropies are in nats, at the
    temperature that sampled, and may be anything where ``mask`` is 0."""

    mask: Row
    """(T,) 1 on tokens that the policy wrote; 0 on the prompt, on what tools said, and on padding."""
    old_logps: Row | None = None
    """(T,) of the policy before the update. Where only one of this and ``sampler_logps`` is given, it stands for both."""
    sampler_logps: Row | None = None
    """(T,) as the engine that sampled gave them; NaN where it gave none."""
    ref_logps: Row | None = None
    """(T,) of the reference policy."""
    old_entropy: Row | None = None
    """(T,) exact entropy over the vocabulary, of the policy before the update."""
    planning: Row | None = None
    """(T,) 1 on tokens of a strategic phrase."""
    token_ids: Row | None = None
    """(T,) whole numbers."""
    pieces: Sequence[str] | None = None
    """T texts, one a token."""
    advantages: Row | float | None = None
    """One number or (T,), where the objective has no term that estimates them."""
    reward: float | None = None
    """The weighted sum of the scores; NaN where nothing could score it."""
    group: Hashable = None
    """Equal for the completions of one prompt."""
    truncated: bool | None = None
    """It ended by its length."""
    answer: str | None = None
    """Equal for equal answers; None without one."""
    uid: int | None = None
    """Unique in the generation; its place there if left out. Random selections of tokens follow it."""


@dataclass(frozen=True)
class Generation:
    """Samples whose advantages and statistics have been computed, over all of them together."""

    samples: tuple[Sample, ...]
    batch: TokenBatch
    """As the rollout phase saw it, padded: N sequences, T tokens."""
    rollout: Rollout
    starts: tuple[int, ...]
    """The position of each sample's first token."""
    metrics: dict[str, float]
    """What its terms and its signals say of it."""

    def part(self, rows: Sequence[int] | None = None, iteration: int = 0) -> Part:
        """Some of the samples, by their places, in the ``iteration``-th pass over the generation, from 0."""
        places = range(len(self.samples))
        chosen = tuple(places if rows is None else rows)
        if not chosen or not all(row in places for row in chosen):
            raise ValueError(
                f"rows: must be places of samples, from 0 to {len(places) - 1}, at least one, not {list(chosen)}"
            )
        return Part(self, chosen, iteration)


@dataclass(frozen=True)
class Part:
    """The samples of one loss."""

    generation: Generation
    rows: tuple[int, ...]
    iteration: int = 0

    def of(self, values: Tensor) -> Tensor:
        """(N, ...) -> (B, ...); what is 0-dim stays."""
        return values[list(self.rows)] if values.dim() else values
