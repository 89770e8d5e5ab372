"""No policy loss: what trains are the penalties alone.

    L_t = 0

For objectives without a reward, such as on-policy distillation (arXiv:2306.13649): rewards and advantages are read by nothing
here, and may be left out.

Not to be confused with leaving ``loss`` out, which is ``trl``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate


@LOSSES.register("none", paper="arXiv:2306.13649")
@dataclass(frozen=True)
class NoLoss(Surrogate):
    """The policy loss switched off. ``type`` still says how penalties are averaged over tokens."""

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")

    def __call__(self, batch: TokenBatch) -> Output:
        return torch.zeros_like(batch.logps), {}
