"""The cosine-scaled reward: right answers earn less the longer they are, wrong ones cost less.

    c = long + (short - long) (1 + cos(pi min(len / max_length, 1))) / 2
    r <- r + coef c, or r <- coef c with ``combine: replace``

with (short, long) = (right_short, right_long) for a right answer, else (wrong_short, wrong_long). Demystifying Long
Chain-of-Thought Reasoning, arXiv:2502.03373, which rewards by c alone: 2 to 1 for right answers, -10 to 0 for wrong ones, and -10
from max_length on (``exceed``; in its code already 16 tokens before). In its code a wrong answer also pays for repeated words; here
that is ``repetition``, for all.

The default ranges are those of TRL's ``get_cosine_scaled_reward`` and of open-r1's function of that name, which both are added to
other rewards. TRL's max_value_correct, min_value_correct, min_value_wrong, max_value_wrong are right_short, right_long, wrong_short,
wrong_long; it gives the same, number by number. open-r1 counts characters, max_len 1000 of them, and does not stop at max_length:
a right answer of twice that length earns what an empty one does. ``reference: true`` does both. Its script sets the wrong range to 0
and -0.5, which turns it round: there long wrong answers cost more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.difficulty import BY, DECIDES, decided
from entropostat.rl.measured import Mean
from entropostat.rl.needs import when
from entropostat.rl.registry import REWARDS, option
from entropostat.rl.sequence import lengths_of
from entropostat.rl.term import Reward


@REWARDS.register(
    "length_cosine",
    paper="arXiv:2502.03373",
    rollout_needs=(
        "unshaped",
        when(right="judge").needs("judged"),
        when(max_length=None).needs("longest"),
        when(reference=False).needs("lengths"),
        when(reference=True).needs("texts"),
    ),
    clock="rollout",
    provides={
        "right": "Mean cosine reward of the right completions.",
        "wrong": "Mean cosine reward of the wrong completions.",
        "exceeded": "Share of the completions that are as long as max_length or longer.",
    },
)
@dataclass(frozen=True)
class LengthCosine(Reward):
    """Concise right answers, and longer tries where they fail: the length of thinking stays in hand.

    The longest wrong answer earns more than the shortest: where the policy is mostly wrong, it learns to write on. An ``overlong``
    behind it, or ``exceed``, keeps that from ending at the limit.
    """

    coef: float = option(1.0, low=0.0, doc="size of the whole")
    right_short: float = option(1.0, doc="of a right answer without a token")
    right_long: float = option(0.5, doc="of a right answer of max_length tokens or more")
    wrong_short: float = option(-1.0, doc="of a wrong answer without a token")
    wrong_long: float = option(-0.5, doc="of a wrong answer of max_length tokens or more")
    exceed: float | None = option(
        None, fixed=True, doc="of any answer of max_length tokens or more, right or not; null: as it is of that length"
    )
    max_length: int | None = option(
        None, low=1, doc="tokens at which the cosine ends; null: the longest completion of the run"
    )
    combine: str = option(
        "add", choices=("add", "replace"), doc="add: to the reward so far; replace: nothing else is left of that"
    )
    right: str = option("judge", choices=BY, doc=DECIDES)
    success: float = option(
        0.5, fixed=True, doc="by the sum a completion is right where its verifiers gave more than this"
    )
    reference: bool = option(False, doc="as open-r1: characters instead of tokens, and no stop at max_length")

    def __call__(self, batch: TokenBatch) -> Output:
        rewards, scored = batch.require("rewards"), ~batch.require("unshaped").isnan()
        most = batch.require("longest") if self.max_length is None else self.max_length
        share = lengths_of(batch, "characters" if self.reference else "tokens") / most
        hit, exceeded = decided(batch, self.right, self.success), share >= 1
        falling = (1 + torch.cos(math.pi * (share if self.reference else share.clamp(max=1)))) / 2
        right = self.right_long + (self.right_short - self.right_long) * falling
        wrong = self.wrong_long + (self.wrong_short - self.wrong_long) * falling
        earned = torch.where(hit, right, wrong)
        if self.exceed is not None:
            earned = torch.where(exceeded, self.exceed, earned)
        earned = self.coef * earned.to(rewards.dtype)
        return earned if self.combine == "replace" else rewards + earned, {
            "right": Mean.over(earned, hit),
            "wrong": Mean.over(earned, scored & ~hit),
            "exceeded": Mean.over(exceeded.to(rewards.dtype), scored),
        }
