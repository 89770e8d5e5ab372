"""IcePop: a token on which trainer and sampler disagree too much does not train, the others carry their ratio.

    w_t = r_t where low <= r_t <= high, else 0,     r = pi_old / pi_sampler

Ling team 2025, Every Step Evolves, arXiv:2510.18855; low 0.5 and high 5 as in its text and the guides of the engines. Both
ends belong to the window. The ratio is that of two engines with the same weights, before any update: a mask on the mismatch,
not on the distance that the updates have gone. slime leaves ``low`` at 0, which makes it one-sided; TRL's ``token_mask`` is
this term at ``low: null, high: 3``.

Its adaptive successor (KPop) is not offered. An infinite ratio is outside; a token that the sampler gave no log-prob for keeps
weight 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.mismatch import inside, ratio_of, sampler_log_ratio
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.term import Weight


@WEIGHTS.register(
    "icepop",
    paper="arXiv:2510.18855",
    needs=("old_logps", "sampler_logps"),
    reference="NeMo-RL loss_functions.py:180; slime loss.py:908; TRL 1.16 token_mask",
    provides={"fraction": "Share of tokens that were dropped.", "mean": "Mean weight, dropped tokens included."},
)
@dataclass(frozen=True)
class IcePop(Weight):
    """Drop the tokens whose probabilities in trainer and sampler differ too much, and weight the others by their ratio.

    Takes the place of TRL's correction, which must be off. Inert where the trainer samples itself: every ratio is then 1.
    """

    low: float | None = option(0.5, low=0.0, high=1.0, doc="smallest ratio that trains; null: any")
    high: float | None = option(5.0, low=1.0, doc="largest ratio that trains; null: any")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|")

    corrects_sampler = True

    def __call__(self, batch: TokenBatch) -> Output:
        d = sampler_log_ratio(batch)
        ratio = ratio_of(d, self.clamp)
        kept = inside(ratio, self.low, self.high) & ~d.isinf()
        weight = torch.where(kept, ratio, 0.0)
        return weight, batch.means(fraction=~kept, mean=weight)
