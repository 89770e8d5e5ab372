"""Prompts by the diversity of their answers: those on which the policy disagrees with itself are asked more often.

    d <- memory * d + (1 - memory) * D(group);   chance of a prompt that comes up = floor + (1 - floor) * min(1, d / mean d)
    D: deviation of the rewards in the group, or entropy of its answers in nats

Inspired by Syn-GRPO (arXiv:2511.19343), of which only the abstract could be read: there the spread of accuracy over the
rollouts of an input rewards a model that makes new images, smoothed against the policy's own baseline. This is the text form
of that core, without a generator: prompts are weighted, not made. The mean over all remembered prompts is the baseline,
so that only what is less diverse than usual is thinned out. No fidelity is claimed.

Not to be confused with the reward `diversity`, which pays completions.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass

from entropostat.rl.registry import DATA, option
from entropostat.rl.stream import Group, Seen, Sieve


@DATA.register(
    "diversity_weighted",
    paper="arXiv:2511.19343",
    clock="rollout",
    provides={
        "diversity": "Mean diversity of the prompts of this generation.",
        "known": "Share of the prompts that came up whose diversity is remembered.",
        "left_out": "Share of the prompts that came up and were left out.",
    },
)
@dataclass(frozen=True)
class DiversityWeighted(Sieve):
    """Ask prompts more often on which the policy's answers differ.

    Acts from the second epoch on, or where a stage is longer than its source. With ``floor`` 0 a prompt without diversity
    is never asked again. Its place goes to a further prompt of the same sources.
    """

    reports = "diversity"

    by: str = option(
        "rewards", choices=("rewards", "answers"), doc="deviation of the rewards, or entropy of the answers"
    )
    floor: float = option(0.2, low=0.0, high=1.0, doc="chance of a prompt without diversity; 1: all are alike")
    memory: float = option(
        0.5, low=0.0, below=1.0, fixed=True, doc="weight of earlier visits in the remembered diversity"
    )

    def measure(self, group: Group) -> float:
        if self.by == "answers":
            return math.nan if group.answers is None else _entropy(group.answers)
        scored = [reward for reward in group.rewards if not math.isnan(reward)]
        return statistics.pstdev(scored) if scored else math.nan

    def takes(self, seen: Seen, level: float, now: int) -> float:
        return 1.0 if level <= 0 else self.floor + (1 - self.floor) * min(1.0, seen.value / level)


def _entropy(answers: tuple[object, ...]) -> float:
    """Nats. A completion without an answer is an answer of its own kind."""
    shares = [count / len(answers) for count in Counter(answers).values()]
    return max(0.0, -sum(share * math.log(share) for share in shares))
