"""DAPO's soft punishment of completions that come close to the limit.

    r <- r + coef p,   p = 0                                  where len <= max_length - buffer
                           (max_length - buffer - len) / buffer   up to max_length
                           -1                                     beyond

Equation 13 of DAPO, arXiv:2503.14476: its completions of up to 20480 tokens are free up to 16384. TRL's
``get_soft_overlong_punishment(max_length, buffer)`` is the same, number by number; a buffer of 0 leaves the step of -1 alone. verl's
reward manager ``dapo`` has coef as ``overlong_buffer.penalty_factor``, and no step: its line falls on beyond max_length, which is
the longest response there and is never passed. Where max_length is below the longest completion, ``reference: true`` does the
same; a buffer of 0 has no line, and stays a step.

Right and wrong answers are punished alike. A completion that ``mask_truncated_completions`` leaves out learns nothing of it, and
still counts in its group.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.measured import Mean
from entropostat.rl.needs import when
from entropostat.rl.registry import REWARDS, option
from entropostat.rl.term import Reward


@REWARDS.register(
    "overlong",
    paper="arXiv:2503.14476",
    rollout_needs=("lengths", "unshaped", when(max_length=None).needs("longest")),
    clock="rollout",
    provides={
        "penalty": "Mean of what is added, 0 or less.",
        "punished": "Share of the completions that are longer than what is free.",
    },
)
@dataclass(frozen=True)
class Overlong(Reward):
    """Completions learn to end before they are cut off: the last ``buffer`` tokens cost more and more.

    Added to the reward so far; a group of equal rewards gets a direction by it. Inert where all completions are short.
    """

    coef: float = option(1.0, low=0.0, doc="size of the punishment at max_length (DAPO: 1)")
    max_length: int | None = option(
        None, low=1, doc="tokens at which the whole punishment is due; null: the longest completion of the run"
    )
    buffer: int = option(4096, low=0, doc="tokens before max_length over which it grows (DAPO: 4096)")
    reference: bool = option(False, doc="as verl: the line goes on falling beyond max_length")

    def __call__(self, batch: TokenBatch) -> Output:
        rewards, scored = batch.require("rewards"), ~batch.require("unshaped").isnan()
        most = batch.require("longest") if self.max_length is None else self.max_length
        over = (batch.require("lengths") - (most - self.buffer)).double()
        most_paid = None if self.reference and self.buffer else 1
        penalty = -(over / max(self.buffer, 1)).clamp(min=0, max=most_paid).to(rewards.dtype)
        return rewards + self.coef * penalty, {
            "penalty": Mean.over(self.coef * penalty, scored),
            "punished": Mean.over((over > 0).to(rewards.dtype), scored),
        }
