"""BAPO: search the clip bounds of each update until reward weighs enough against punishment.

    S(lower, upper) = sum over A > 0 of min(r, upper) A  /  sum over A < 0 of max(r, lower) |A|
    (lower, upper): the first pair at which S >= target; lower rises to its end first, then upper to its own; else the last pair
    L_t = max(-A r, -A clip(r, lower, upper)),   and for A < 0:  L_t = min(L_t, -A dual)

Xi et al. 2025, BAPO: Balanced Policy Optimization with Adaptive Clipping, arXiv:2510.18927. A higher lower bound takes
punished tokens that have become rare out of the gradient, a higher upper bound lets rewarded ones stay in it.

We follow the released code and the sizes of its recipe file; the paper is known to us second-hand. It sets a share rho that the
positive part shall have of the whole, which is a target of rho / (1 - rho), and moves the two bounds in turn.

The search needs the ratios of the tokens that are about to be stepped on, so it is part of the loss: a controller would set the
bounds from a number of the step before, and it has none that says what S would be at other bounds. As in the code the two sums
run over all ranks (``scope: ranks``), one micro-step at a time. There is no scope of a whole generation: there all ratios are 1,
and no bound moves S. What we changed: a target that S misses by rounding alone (a millionth) counts as met. Group-centred
advantages that nobody has stepped on have S = 1, and in the code rounding decides whether both bounds go to their ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.bounds import Bounded, beyond
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate

ROUNDING = 1e-6
"""By which share S may miss its target and yet meet it."""


@LOSSES.register(
    "bapo",
    paper="arXiv:2510.18927",
    needs=("old_logps",),
    reference="WooooDyy/BAPO recipe/bapo/policy_loss.py:76",
    provides={
        "lower": "Lower bound of the ratio that the search ended at.",
        "upper": "Upper bound of the ratio that the search ended at.",
        "positive_share": "Share of the positive part in the whole at these bounds, S / (1 + S).",
        "clip_fraction": "Share of tokens whose gradient the ratio clip removed.",
        "dual_fraction": "Share of tokens whose gradient the dual clip removed.",
    },
)
@dataclass(frozen=True)
class BAPO(Surrogate):
    """The clipped surrogate with bounds that give way until rewarded tokens weigh as much as punished ones.

    ``target: 0`` keeps the bounds where they start. With a micro-batch of one sign of advantage S is 0 or infinite whatever the
    bounds: use several sequences per micro-batch. When every generation serves one update all ratios are 1, and the
    bounds, wherever they end, cut nothing.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    target: float = option(1.0, low=0.0, doc="S at which the search ends (example script: 0.5)")
    lower: float = option(0.6, above=0.0, high=1.0, fixed=True, doc="lower bound to start from (example script: 0.8)")
    lower_max: float = option(0.8, above=0.0, high=1.0, fixed=True, doc="where it ends (example script: 0.95)")
    lower_step: float = option(0.05, low=0.005, fixed=True, doc="by how much it rises at a time")
    upper: float = option(1.2, low=1.0, high=10.0, fixed=True, doc="upper bound to start from")
    upper_max: float = option(2.0, low=1.0, high=10.0, fixed=True, doc="where it ends")
    upper_step: float = option(0.05, low=0.005, fixed=True, doc="by how much it rises at a time (example script: 0.1)")
    dual: float | None = option(3.0, above=1.0, doc="cap on the loss of A < 0 in units of -A; null: off")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|; no gradient outside")
    scope: str = option("ranks", choices=("ranks", "micro"), doc="what the two sums run over")

    holds = "ratio"

    def _ratio(self, batch: TokenBatch) -> Tensor:
        """(B, T)."""
        return batch.log_ratio.clamp(-self.clamp, self.clamp).exp()

    def prepare(self, batch: TokenBatch) -> Stats:
        """The bounds, and the two parts at them. S has one part for each bound, so that one collective is enough."""
        a, ratio = batch.token_advantages, self._ratio(batch)
        lowers = rising(self.lower, self.lower_max, self.lower_step)
        uppers = rising(self.upper, self.upper_max, self.upper_step)
        reward = torch.where(batch.valid, a, 0.0).clamp(min=0).double()
        blame = torch.where(batch.valid, -a, 0.0).clamp(min=0).double()
        parts = [(ratio.clamp(min=x) * blame).sum() for x in lowers] + [
            (ratio.clamp(max=x) * reward).sum() for x in uppers
        ]
        negative, positive = batch.reducer.sum(torch.stack(parts)).split([len(lowers), len(uppers)])
        walk = [*((i, 0) for i in range(len(lowers))), *((len(lowers) - 1, j) for j in range(1, len(uppers)))]
        at = torch.tensor(walk, device=ratio.device)
        negative, positive = negative[at[:, 0]], positive[at[:, 1]]
        met = positive >= self.target * (1 - ROUNDING) * negative
        met[-1] = True
        first = met.int().argmax()
        low, high = ratio.new_tensor(lowers)[at[first, 0]], ratio.new_tensor(uppers)[at[first, 1]]
        return {"lower": low, "upper": high, "positive": positive[first], "negative": negative[first]}

    def bounded(self, batch: TokenBatch) -> Bounded:
        """At the bounds that were found; the dual clip aside, which caps the loss and not the ratio's distance."""
        return beyond(batch, self._ratio(batch), batch.stats["lower"], batch.stats["upper"])

    def __call__(self, batch: TokenBatch) -> Output:
        a, ratio, stats = batch.token_advantages, self._ratio(batch), batch.stats
        free, clipped = -a * ratio, -a * ratio.clamp(stats["lower"], stats["upper"])
        loss = torch.maximum(free, clipped)
        capped = torch.zeros_like(batch.valid)
        if self.dual is not None:
            capped = (a < 0) & (loss > -a * self.dual)
            loss = torch.where(capped, -a * self.dual, loss)
        positive, whole = stats["positive"], stats["positive"] + stats["negative"]
        share = torch.where(whole > 0, positive / whole.clamp(min=1e-300), 1.0).to(ratio.dtype)
        found = {"lower": stats["lower"], "upper": stats["upper"], "positive_share": share}
        found = {name: value.expand_as(ratio) for name, value in found.items()}
        return loss, batch.means(**found, clip_fraction=clipped > free, dual_fraction=capped)


def rising(start: float, end: float, step: float) -> list[float]:
    """From ``start`` by ``step`` to exactly ``end``; the start alone where it lies at the end or beyond."""
    values = [start]
    while values[-1] < end:
        values.append(min(values[-1] + step, end))
    return values
