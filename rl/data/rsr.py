"""Recent sample recovery: groups that dynamic sampling has too much train in the next generation.

    line = waiting + fresh groups that teach;   train line[:N], keep line[N:]

Confucius3-Math, arXiv:2506.18330, section 6.3, Algorithm 1, which does not say whether those that wait come first; here they
do, so that none grows old while newer ones train. No training code was released. The paper makes no correction for age: it
"did not produce much difference". Here each group keeps the log-probs of the policy that sampled it, so that its ratio is
the true one from its first update on, and clipping acts on it; what else was measured at its generation stays with it.
``max_age`` is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from entropostat.rl.registry import DATA, option
from entropostat.rl.stream import Recovery

T = TypeVar("T")


@DATA.register(
    "rsr",
    paper="arXiv:2506.18330",
    rollout_needs=("old_logps",),
    clock="rollout",
    provides={
        "recovered": "Share of the groups of this generation that were sampled for an earlier one.",
        "waiting": "Groups that wait for the next generation.",
        "age": "Largest age of a group that trains, in generations.",
    },
)
@dataclass(frozen=True)
class RSR(Recovery):
    """Lose none of the completions that dynamic sampling paid for: what finds no place waits for the next generation.

    Has something to keep where rounds draw more prompts than are missing: `dynamic_sampling` with ``oversample`` above 1.
    Exactly on-policy runs pay a forward per generation for the log-probs, and are no longer exactly on-policy.
    """

    max_age: int = option(1, low=1, high=100, doc="generations that a group waits at most")

    def split(self, waiting: Sequence[T], fresh: Sequence[T], places: int) -> tuple[Sequence[T], Sequence[T]]:
        line = [*waiting, *fresh]
        return line[:places], line[places:]
