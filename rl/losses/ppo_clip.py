"""The clipped surrogate of PPO, computed by us, with clip-higher and dual clip.

    L_t = max(-A r, -A clip(r, 1 - epsilon, 1 + epsilon_high)),   and for A < 0:  L_t = min(L_t, -A dual)

Schulman et al. 2017, arXiv:1707.06347, Eq. 7; clip-higher (epsilon_high 0.28): DAPO, arXiv:2503.14476; dual clip: Ye et
al. 2019, arXiv:1912.09729 (verl's default is 3.0; the entropy-mechanism fork has it commented out, as here).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.bounds import Bounded, beyond
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate


@LOSSES.register(
    "ppo_clip",
    paper="arXiv:1707.06347",
    needs=("old_logps",),
    reference="verl core_algos.py:1160; PRIME-RL/Entropy-Mechanism-of-RL core_algos.py:354",
    provides={
        "clip_fraction": "Share of tokens whose gradient the ratio clip removed.",
        "dual_fraction": "Share of tokens whose gradient the dual clip removed.",
    },
)
@dataclass(frozen=True)
class PPOClip(Surrogate):
    """The clipped surrogate with decoupled bounds and an optional dual clip.

    Equals ``trl`` of the same type at the defaults; take ``trl`` unless you need the dual clip. ``clamp`` bounds the
    log-ratio before exp, as verl does at 20; its gradient is 0 outside.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    epsilon: float = option(0.2, above=0.0, doc="lower clip: ratio >= 1 - epsilon")
    epsilon_high: float | None = option(None, above=0.0, doc="upper clip; null: epsilon")
    dual: float | None = option(None, above=1.0, doc="cap on the loss of A < 0 in units of -A; null: off")
    clamp: float | None = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|; null: off")

    holds = "ratio"

    @property
    def clip(self) -> tuple[float, float]:
        return 1 - self.epsilon, 1 + (self.epsilon if self.epsilon_high is None else self.epsilon_high)

    def _ratio(self, batch: TokenBatch) -> torch.Tensor:
        """(B, T)."""
        log_ratio = batch.log_ratio if self.clamp is None else batch.log_ratio.clamp(-self.clamp, self.clamp)
        return log_ratio.exp()

    def bounded(self, batch: TokenBatch) -> Bounded:
        """The dual clip aside, which caps the loss and not the ratio's distance."""
        return beyond(batch, self._ratio(batch), *self.clip)

    def __call__(self, batch: TokenBatch) -> Output:
        a, ratio = batch.token_advantages, self._ratio(batch)
        free, clipped = -a * ratio, -a * ratio.clamp(*self.clip)
        loss = torch.maximum(free, clipped)
        cut = {"clip_fraction": clipped > free}
        if self.dual is not None:
            capped = (a < 0) & (loss > -a * self.dual)
            loss = torch.where(a < 0, torch.minimum(loss, -a * self.dual), loss)
            cut["dual_fraction"] = capped
        return loss, batch.means(**cut)
