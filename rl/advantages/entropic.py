"""EntroPIC: weigh right against wrong completions by one number, which a controller sets.

    A <- (1 + alpha) A where A > 0,  (1 - alpha) A where A < 0

EntroPIC, arXiv:2511.15248. alpha > 0 (entropy above its target) reinforces right completions, alpha < 0 punishes wrong
ones. The rule for alpha is the controller of the same name:
``entropic: {alpha: {entropic: {target: 0.5, kp: 1.0, ki: 0.01}}}``.

The authors' code could not be read; the golden vectors are from Entrocraft's re-implementation, which applies the weights
to rewards of +-1 and does not cut alpha. Beyond 1 that turns the sign of wrong or right completions, so we cut at
``bound``; null is the re-implementation. The paper's restriction to tokens of high probability is not confirmed, and not
offered.

Not to be confused with the controller ``entropic``, its rule for alpha, nor with the entropic objective of risk-sensitive
control.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "entropic",
    paper="arXiv:2511.15248",
    clock="rollout",
    reference="lblaoke/entrocraft core_algos.py:498",
    provides={"alpha": "The number that was applied, after the cut."},
)
@dataclass(frozen=True)
class Entropic(Advantage):
    """Tilt the advantages towards right (alpha > 0) or wrong (alpha < 0) completions.

    Inert at ``alpha: 0`` and where all advantages are 0. Without a controller on ``alpha`` it is a constant tilt.
    """

    alpha: float = option(0.0, doc="tilt; meant for a controller")
    bound: float | None = option(0.9, above=0.0, fixed=True, doc="alpha is cut to +-bound; null: no cut, as the code")

    reshapes = True

    def __call__(self, batch: TokenBatch) -> Output:
        a = advantages_before(batch, "entropic")
        alpha = self.alpha if self.bound is None else min(max(self.alpha, -self.bound), self.bound)
        return torch.where(a > 0, (1 + alpha) * a, (1 - alpha) * a), {"alpha": a.new_tensor(alpha)}
