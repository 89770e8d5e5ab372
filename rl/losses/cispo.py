"""CISPO: clip the importance weight, never the gradient of a token.

    L_t = -sg[clip(r, 1 - epsilon, 1 + epsilon_high)] A log pi

MiniMax 2025, MiniMax-M1, arXiv:2506.13585. A ratio clip takes exactly the rare tokens out that a first update has made
likelier; here every token keeps its gradient, and only its weight is bounded. The paper has no lower bound; verl and we
write it as a bound that never binds (``epsilon`` of 1 or more).

Paper and code agree, but for names: TRL's ``epsilon_high`` is itself the cap, verl's and ours is the cap minus 1.
``trl`` of type cispo is the same loss without a lower bound, computed by TRL: take that one unless you need the bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.bounds import Bounded, beyond
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate


@LOSSES.register(
    "cispo",
    paper="arXiv:2506.13585",
    needs=("old_logps",),
    reference="verl core_algos.py:1722; TRL 1.16 GRPOTrainer._compute_loss",
    provides={"clip_fraction": "Share of tokens whose importance weight was clipped; they keep their gradient."},
)
@dataclass(frozen=True)
class CISPO(Surrogate):
    """REINFORCE with a clipped, constant importance weight.

    The clip is inert when every generation serves one update: the ratio is then 1. ``clamp`` and ``floor`` guard
    against infinities alone.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    epsilon: float = option(10.0, above=0.0, doc="weight >= 1 - epsilon; 1 or more: no lower bound (the paper)")
    epsilon_high: float = option(0.2, above=0.0, doc="weight <= 1 + epsilon_high (verl: 0.2)")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|")
    floor: float = option(1e4, above=0.0, fixed=True, doc="log pi >= -floor; no gradient below")

    stops_gradient = True
    holds = "weight"

    def _ratio(self, batch: TokenBatch) -> Tensor:
        """(B, T), a constant."""
        return batch.log_ratio.detach().clamp(-self.clamp, self.clamp).exp()

    def bounded(self, batch: TokenBatch) -> Bounded:
        return beyond(batch, self._ratio(batch), 1 - self.epsilon, 1 + self.epsilon_high)

    def __call__(self, batch: TokenBatch) -> Output:
        ratio = self._ratio(batch)
        weight = ratio.clamp(1 - self.epsilon, 1 + self.epsilon_high)
        logps = batch.difference(batch.logps.new_zeros(()), self.floor)
        return -weight * batch.token_advantages * logps, batch.means(clip_fraction=weight != ratio)
