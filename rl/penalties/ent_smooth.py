"""Entropy smoothing (EPO): bring the tokens back whose entropy has left a band around what it has been so far.

    P_t = coef (max(low h - H_t, 0) + max(H_t - high h, 0)),   H_t with gradient;   h = ``history``, mean entropy so far
    per: sequence   likewise with the mean entropy of the sequence, for each of its tokens

EPO, arXiv:2509.22576, for agents of many turns. Its loss is also an entropy bonus: ``entropy_bonus`` of lambda beside this term of
lambda times its smoothing coefficient. Band 0.8 to 1.2 by default, 0.5 to 1.5 in the server script; lambda 1e-3, smoothing 1.

``reference: true`` is the released code, whose smoothing has no gradient: P_t = coef ``step`` outside of the band, a constant (0.1),
and 0 inside, so that only the logged loss moves. Its mean of a sequence divides by padding, too, and a history of 0, of turns that
nobody has reached, makes a band of width 0 that everything is outside of. The paper's text is not confirmed.

What we changed: the distance to the band instead of a constant, so that there is a force; the mean of a sequence over its tokens;
no penalty without a history. The code keeps one history for each turn and penalises late turns alone: here a completion is one
turn, and the history one number, mostly of the controller ``average``. Its factor over epochs is a ``schedule`` on ``coef``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.needs import when
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.sequence import row_mean
from entropostat.rl.term import TokenPenalty


@PENALTIES.register(
    "ent_smooth",
    paper="arXiv:2509.22576",
    needs=("entropy",),
    reference="WujiangXu/EPO dp_actor.py:300",
    provides={
        "below": "Share of tokens below the band.",
        "above": "Share of tokens above the band.",
        "distance": "Mean distance to the band, nats.",
    },
)
@dataclass(frozen=True)
class EntSmooth(TokenPenalty):
    """Pull tokens into a band around the run's own mean entropy, from both sides, and leave those inside alone.

    Most tokens of a language model are nearly certain, and far below any band around the mean: on them it is an entropy bonus.
    ``per: sequence`` holds the means of completions instead, which are alike. The band follows entropy wherever that goes,
    and slows a drift without ending it. Inert at ``coef: 0``, and until there is a history.
    """

    history: float = option(
        low=0.0, doc="mean entropy so far, nats: {average: {signal: entropy}}; 0: none yet, no penalty"
    )
    coef: float = option(1e-3, low=0.0, doc="size of the penalty, a unit for each nat outside")
    low: float = option(0.8, low=0.0, doc="lower end of the band, in units of the history (server script: 0.5)")
    high: float = option(1.2, low=0.0, doc="upper end of the band, in units of the history (server script: 1.5)")
    per: str = option(
        "token", choices=("token", "sequence"), doc="whose entropy is held: the token's, or its sequence's mean"
    )
    reference: bool = option(False, doc="a constant outside of the band and no gradient, as the released code")
    step: float = option(0.1, low=0.0, only=when(reference=True), doc="that constant")

    policy_term = False

    def _entropy(self, batch: TokenBatch) -> Tensor:
        """(B, T) what is compared with the band."""
        entropy = batch.require("entropy")
        if self.per == "token":
            return entropy
        if self.reference:
            mean = torch.where(batch.valid, entropy, 0.0).mean(1, keepdim=True)
        else:
            mean = row_mean(entropy, batch)
        return mean.expand_as(entropy)

    def __call__(self, batch: TokenBatch) -> Output:
        entropy = self._entropy(batch)
        bottom, top = self.low * self.history, self.high * self.history
        distance = (bottom - entropy).clamp(min=0) + (entropy - top).clamp(min=0)
        below, above = entropy <= bottom, entropy >= top
        if self.reference:
            value = torch.where(below | above, self.step, torch.zeros_like(entropy))
        else:
            value = distance if self.history > 0 else torch.zeros_like(distance)
        value = torch.where(batch.valid, self.coef * value, 0.0)
        return value, batch.means(below=below, above=above, distance=distance.detach())
