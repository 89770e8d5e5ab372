"""TRL's own policy loss, computed by TRL.

Eight types: grpo (arXiv:2402.03300), bnpo, dr_grpo (2503.20783), dapo (2503.14476), cispo (2506.13585), sapo, luspo,
vespo. The term only carries their options: the trainer writes them into TRL's config, TRL computes the loss, and token
weights ride on its (B, T) advantages. TRL's note on cispo: ``epsilon_high`` itself is the cap, not 1 + epsilon_high.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import TokenBatch
from entropostat.rl.bounds import Bounded, beyond
from entropostat.rl.info import Holds
from entropostat.rl.loss_types import CLIPPED, TYPES, held_by
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.sequence import row_mean
from entropostat.rl.term import Delegated


@LOSSES.register("trl", paper="arXiv:2402.03300", reference="TRL 1.16 GRPOTrainer._compute_loss")
@dataclass(frozen=True)
class TRLLoss(Delegated):
    """The clipped surrogate, or another of TRL's eight loss types, delegated to TRL itself.

    The ratio clip is inert when every generation serves exactly one update: the ratio is then 1.
    """

    type: str = option("dapo", choices=TYPES, doc="TRL's loss_type")
    epsilon: float = option(0.2, above=0.0, doc="lower clip: ratio >= 1 - epsilon")
    epsilon_high: float | None = option(None, above=0.0, doc="upper clip: ratio <= 1 + epsilon_high; null: epsilon")
    delta: float | None = option(None, above=1.0, fixed=True, doc="cap of the ratio for A < 0 (two-sided clip)")
    importance_sampling_level: str = option("token", choices=("token", "sequence"), doc="sequence: GSPO")
    sapo_temperature_pos: float = option(1.0, above=0.0, fixed=True, doc="sapo, A > 0")
    sapo_temperature_neg: float = option(1.05, above=0.0, fixed=True, doc="sapo, A <= 0")
    vespo_k_pos: float = option(2.0, fixed=True, doc="vespo")
    vespo_lambda_pos: float = option(3.0, fixed=True, doc="vespo")
    vespo_k_neg: float = option(3.0, fixed=True, doc="vespo")
    vespo_lambda_neg: float = option(2.0, fixed=True, doc="vespo")
    off_policy_mask_threshold: float | None = option(None, above=0.0, fixed=True, doc="OPSM (DeepSeek-V3.2)")

    @property
    def by_sequence(self) -> bool:
        return self.importance_sampling_level == "sequence"

    @property
    def clip_range(self) -> tuple[float, float]:
        return self.epsilon, self.epsilon if self.epsilon_high is None else self.epsilon_high

    @property
    def clip(self) -> tuple[float, float] | None:
        """Ratios outside of this range have no gradient where the advantage would push them further out."""
        low, high = self.clip_range
        return (1 - low, 1 + high) if self.type in CLIPPED else None

    @property
    def holds(self) -> Holds:  # type: ignore[override]  # of no other loss it depends on an option
        return held_by(self.type)

    def bounded(self, batch: TokenBatch) -> Bounded:
        """As TRL counts them: ``delta`` comes first, and cispo has no lower bound."""
        log_ratio, (low, high) = batch.log_ratio, self.clip_range
        if self.by_sequence:
            log_ratio = row_mean(log_ratio, batch)
        ratio = log_ratio.exp()
        if self.type == "cispo":
            return beyond(batch, ratio, -1.0, high)
        capped = ratio if self.delta is None else ratio.clamp(max=self.delta)
        return beyond(batch, capped, 1 - low, 1 + high)
