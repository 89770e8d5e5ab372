"""Entrocraft: hold entropy in a band by what is reinforced.

    H > upper:  A_i = max(R_i, 0)        H < lower:  A_i = min(R_i, 0)        else the chain's A_i
    R_i = gain (r_i - center)

arXiv:2604.26326. H is the token mean over the generation. Above the band only right completions train, which lowers
entropy where the sampled ones are likely; below it only wrong ones (in exact expectation the two sides pull alike, see
``w_reinforce``). The paper moves the band along a line or a
half cosine: ``lower: {schedule: {points: [[0, 0.6], [400, 0.4]], shape: linear}}``, which the defaults start from.

Rewards of the paper are +1 and -1, not normalised outside of the band: the defaults. For rewards of 0 and 1 take
``center: 0.5, gain: 2``, or nothing is ever negative. The reference measures H on the batch that it then trains on, as we do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before, mean_entropy
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "entrocraft",
    paper="arXiv:2604.26326",
    rollout_needs=("old_entropy", "rewards"),
    clock="rollout",
    reference="lblaoke/entrocraft core_algos.py:343",
    provides={
        "entropy": "Mean entropy of the generation that is held against the band, nats.",
        "side": "1 above the band (only positive rewards train), -1 below it (only negative ones), else 0.",
    },
)
@dataclass(frozen=True)
class Entrocraft(Advantage):
    """Outside of an entropy band, train on right completions only (too high) or on wrong ones only (too low).

    Reshapes the advantages before it, which apply inside the band. A three-state switch: outside it drops the share of
    the batch with the other sign and all group normalisation, and it has no authority once nearly all completions are right.
    """

    lower: float = option(0.6, low=0.0, doc="lower end of the band, nats (paper: 0.6 to 0.4)")
    upper: float = option(0.7, low=0.0, doc="upper end of the band, nats (paper: 0.7 to 0.5)")
    center: float = option(0.0, fixed=True, doc="reward that is neither right nor wrong: 0 for +-1, 0.5 for 0 and 1")
    gain: float = option(1.0, above=0.0, fixed=True, doc="scale of the rewards outside of the band")

    reshapes = True
    compares = False
    """Outside of the band the advantage is not relative to the other completions of a prompt."""

    def __call__(self, batch: TokenBatch) -> Output:
        inside = advantages_before(batch, "entrocraft")
        entropy = mean_entropy(batch)
        above, below = entropy > self.upper, entropy < self.lower
        rewards = torch.nan_to_num(self.gain * (batch.require("rewards") - self.center), nan=0.0)
        rewards = rewards.unsqueeze(1) if inside.dim() == 2 else rewards
        advantages = torch.where(above, rewards.clamp(min=0), torch.where(below, rewards.clamp(max=0), inside))
        side = above.to(entropy.dtype) - below.to(entropy.dtype)
        return advantages, {"entropy": entropy, "side": torch.where(entropy.isnan(), torch.nan, side)}
