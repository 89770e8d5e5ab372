"""CE-GPPO: give the tokens that the ratio clip removes a bounded gradient.

    low:   r < 1 - epsilon, A < 0         L_t = -A beta_low (1 - epsilon) r / sg r
    high:  r > 1 + epsilon_high, A > 0    L_t = -A beta_high (1 + epsilon_high) r / sg r
    else                                  L_t = -A r,         then for A < 0:  L_t = min(L_t, -A dual)

Su et al. 2025, CE-GPPO, arXiv:2509.20712. The clipped tokens are the rare ones: those of A > 0 hold entropy up, those
of A < 0 let it fall. ``beta_high`` and ``beta_low`` (the paper's beta_2 and beta_1) set how much of either gradient
returns; with 0 and 0 the gradient is PPO's.

We follow the code, the paper's text is not confirmed: the ratio stays in the value of the other tokens, and there is a
dual clip (10 in the scripts). beta_1: 0.5 in the scripts for 1.5B, 0.75 for 7B, 0.25 in the released config.
beta_2: 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import LIMIT, Output, TokenBatch
from entropostat.rl.bounds import Bounded, beyond
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate


@LOSSES.register(
    "ce_gppo",
    paper="arXiv:2509.20712",
    needs=("old_logps",),
    reference="Kwai-Klear/CE-GPPO core_algos.py:531",
    provides={
        "low_fraction": "Share of tokens below the band with A < 0, which carry beta_low.",
        "high_fraction": "Share of tokens above the band with A > 0, which carry beta_high.",
        "dual_fraction": "Share of tokens whose gradient the dual clip removed.",
    },
)
@dataclass(frozen=True)
class CEGPPO(Surrogate):
    """PPO whose clipped tokens keep a gradient of chosen size: two handles on entropy inside the loss.

    Inert, equal to the plain surrogate, when every generation serves one update: the ratio is then 1.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    epsilon: float = option(0.2, above=0.0, below=1.0, doc="lower end of the band: ratio >= 1 - epsilon")
    epsilon_high: float | None = option(None, above=0.0, doc="upper end of the band; null: epsilon")
    beta_low: float = option(0.5, low=0.0, doc="gradient of A < 0 below the band: lowers entropy")
    beta_high: float = option(1.0, low=0.0, doc="gradient of A > 0 above the band: raises entropy")
    dual: float | None = option(10.0, above=1.0, doc="cap on the loss of A < 0 in units of -A; null: off")

    stops_gradient = True
    holds = "ratio"

    @property
    def _band(self) -> tuple[float, float]:
        return 1 - self.epsilon, 1 + (self.epsilon if self.epsilon_high is None else self.epsilon_high)

    def bounded(self, batch: TokenBatch) -> Bounded:
        """The tokens that get their gradient back."""
        return beyond(batch, batch.log_ratio.clamp(-LIMIT, LIMIT).exp(), *self._band)

    def __call__(self, batch: TokenBatch) -> Output:
        a, d = batch.token_advantages, batch.log_ratio.clamp(-LIMIT, LIMIT)
        ratio, one = d.exp(), (d - d.detach()).exp()
        bottom, top = self._band
        low, high = beyond(batch, ratio, bottom, top)
        loss = -a * torch.where(low, self.beta_low * bottom * one, torch.where(high, self.beta_high * top * one, ratio))
        capped = torch.zeros_like(low)
        if self.dual is not None:
            capped = (a < 0) & (loss > -a * self.dual)
            loss = torch.where(capped, -a * self.dual, loss)
        return loss, batch.means(low_fraction=low, high_fraction=high, dual_fraction=capped)
