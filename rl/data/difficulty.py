"""Prompts between two solve rates: those too easy or too hard are left out for a while.

    rate <- memory * rate + (1 - memory) * share of right completions;   asked if  low <= rate <= high

The online prompt filter of PRIME (arXiv:2502.01456, accuracy between 0.2 and 0.8, from memory and not confirmed) drops groups
after they were sampled; here the rate is remembered over epochs, so that nothing is sampled in vain, and a prompt is asked
again ``recheck`` generations after it was last: the policy has changed. Defaults are ours. A prompt that was never asked is asked.

Not to be confused with `dynamic_sampling`, which drops groups once they are sampled, nor with the buckets of `ares` and
`kl_bucket`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from entropostat.rl.registry import DATA, option
from entropostat.rl.stream import Group, Seen, Sieve


@DATA.register(
    "difficulty",
    paper="arXiv:2502.01456",
    clock="rollout",
    provides={
        "rate": "Mean solve rate of the prompts of this generation.",
        "known": "Share of the prompts that came up whose rate is remembered.",
        "left_out": "Share of the prompts that came up and were left out.",
    },
)
@dataclass(frozen=True)
class Difficulty(Sieve):
    """Ask prompts that the policy sometimes solves; leave out those that it always does, or never.

    Acts from the second epoch on, or where a stage is longer than its source. What is left out is replaced by further
    prompts of the same sources; where none is left, the prompt is asked all the same.
    """

    reports = "rate"

    low: float = option(0.1, low=0.0, high=1.0, doc="solve rate below which a prompt is left out")
    high: float = option(0.9, low=0.0, high=1.0, doc="solve rate above which a prompt is left out")
    memory: float = option(0.5, low=0.0, below=1.0, fixed=True, doc="weight of earlier visits in the remembered rate")
    recheck: int = option(
        50, low=1, high=10**6, doc="generations after which a prompt that was left out is asked again"
    )
    success: float = option(0.5, fixed=True, doc="reward above which a completion is right")

    def measure(self, group: Group) -> float:
        scored = [reward > self.success for reward in group.rewards if not math.isnan(reward)]
        return sum(scored) / len(scored) if scored else math.nan

    def takes(self, seen: Seen, level: float, now: int) -> float:
        return float(self.low <= seen.value <= self.high or now - seen.at >= self.recheck)
