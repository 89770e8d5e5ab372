"""Archer: a wider ratio clip on the uncertain tokens of each sequence.

    e_t = epsilon_reason where H_t > quantile_q(H of the sequence), else epsilon_know
    L_t = max(-A r, -A clip(r, 1 - e_t, 1 + e_t)),   and for A < 0:  L_t = min(L_t, -A dual)

Wang et al. 2025, ArcherCodeR: dual-token constraints, arXiv:2507.15778. The quantile is taken within each sequence. We
follow the released code, in which ``high_entropy_mask`` and ``low_entropy_mask`` carry each other's name (the mask
named high holds the tokens at or below the quantile); the clip ranges are right all the same.

Not part of this term: the paper's KL to the reference on the low-entropy tokens alone. ``kl_ref`` holds every token.
The entropy is that of the current policy, detached, as in the code.

Not to be confused with ArCHer, arXiv:2402.19446, hierarchical reinforcement learning over many turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.bounds import Bounded, beyond
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.sequence import row_quantile
from entropostat.rl.term import Surrogate


@LOSSES.register(
    "archer",
    paper="arXiv:2507.15778",
    needs=("old_logps", "entropy"),
    reference="wizard-III/ArcherCodeR dp_actor.py:403",
    provides={
        "clip_fraction": "Share of tokens whose gradient the ratio clip removed.",
        "dual_fraction": "Share of tokens whose gradient the dual clip removed.",
        "reasoning": "Share of tokens above the entropy quantile of their sequence.",
    },
)
@dataclass(frozen=True)
class Archer(Surrogate):
    """The clipped surrogate with room for the forks of a sequence and little for its facts.

    Inert when every generation serves one update: the ratio is then 1. A sequence of one token has nothing above its
    quantile.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    quantile: float = option(0.8, above=0.0, below=1.0, doc="entropy quantile of the sequence that divides the tokens")
    epsilon_know: float = option(0.2, above=0.0, doc="clip on both sides, at or below the quantile")
    epsilon_reason: float = option(0.5, above=0.0, doc="clip on both sides, above the quantile")
    dual: float | None = option(3.0, above=1.0, doc="cap on the loss of A < 0 in units of -A; null: off")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|; no gradient outside")

    holds = "ratio"

    def _reasoning(self, batch: TokenBatch) -> torch.Tensor:
        """(B, T) bool: the valid tokens above the quantile of their sequence."""
        entropy = batch.require("entropy").detach()
        return batch.valid & (entropy > row_quantile(entropy, self.quantile, batch))

    def _room(self, batch: TokenBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, T) the ratio, how far it may be from 1, and the tokens above the quantile."""
        reasoning = self._reasoning(batch)
        ratio = batch.log_ratio.clamp(-self.clamp, self.clamp).exp()
        wide, narrow = ratio.new_tensor(self.epsilon_reason), ratio.new_tensor(self.epsilon_know)
        return ratio, torch.where(reasoning, wide, narrow), reasoning

    def bounded(self, batch: TokenBatch) -> Bounded:
        ratio, room, _ = self._room(batch)
        return beyond(batch, ratio, 1 - room, 1 + room)

    def __call__(self, batch: TokenBatch) -> Output:
        a = batch.token_advantages
        ratio, room, reasoning = self._room(batch)
        free, clipped = -a * ratio, -a * torch.minimum(torch.maximum(ratio, 1 - room), 1 + room)
        loss = torch.maximum(free, clipped)
        capped = torch.zeros_like(reasoning)
        if self.dual is not None:
            capped = (a < 0) & (loss > -a * self.dual)
            loss = torch.where(capped, -a * self.dual, loss)
        return loss, batch.means(clip_fraction=clipped > free, dual_fraction=capped, reasoning=reasoning)
