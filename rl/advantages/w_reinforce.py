"""REINFORCE on right and wrong completions with weights of their own, without a baseline.

    A_i = positive where r_i > threshold, -negative elsewhere

Zhu et al. 2025, The Surprising Effectiveness of Negative Reinforcement, arXiv:2506.01347. W-REINFORCE: positive 0.1,
negative 1 (the default). PSR: 1 and 0; NSR: 0 and 1. Rewards of the paper are 0 and 1; with any other scale, set the
``threshold``. The released PSR also takes the wrong rows out of the batch, which changes only the loss's denominator.

Group-free: nothing is inert, also not a prompt that all completions solve. In exact expectation reward and punishment
alone are the same gradient, as their advantages differ by a constant; they part on finite samples and over repeated
updates, where a sampled likely completion loses or gains what the others share.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "w_reinforce",
    paper="arXiv:2506.01347",
    rollout_needs=("rewards",),
    clock="rollout",
    reference="TianHongZXY/RLVR-Decomposed core_algos.py:111",
)
@dataclass(frozen=True)
class WReinforce(Advantage):
    """Punish wrong completions at full weight and reward right ones at a tenth.

    Punishment spreads probability over the alternatives that the policy still believes in, reward concentrates it. A
    completion that nothing could score gets 0.
    """

    positive: float = option(0.1, low=0.0, doc="advantage of a right completion (PSR: 1, NSR: 0)")
    negative: float = option(1.0, low=0.0, doc="minus the advantage of a wrong completion (PSR: 0, NSR: 1)")
    threshold: float = option(0.0, fixed=True, doc="a completion is right where its reward is above this")

    compares = False
    """The advantage is not relative to the other completions of a prompt."""

    def __call__(self, batch: TokenBatch) -> Output:
        rewards = batch.require("rewards")
        right, wrong = torch.full_like(rewards, self.positive), torch.full_like(rewards, -self.negative)
        advantages = torch.where(rewards > self.threshold, right, wrong)
        return torch.where(rewards.isnan(), 0.0, advantages), {}
