"""The importance-weighted surrogate without any clip.

    L_t = -A_t r_t

What KL-Cov trains on: Cui et al. 2025, arXiv:2505.22617, Eq. 14 and Listing 1 have no ratio clip, and neither have the
two released implementations, although their scripts set one.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate


@LOSSES.register(
    "unclipped",
    paper="arXiv:2505.22617",
    needs=("old_logps",),
    reference="PRIME-RL/Entropy-Mechanism-of-RL core_algos.py:426; verl core_algos.py:1556",
)
@dataclass(frozen=True)
class Unclipped(Surrogate):
    """The plain importance-weighted surrogate, -A times the ratio: the base loss of KL-Cov.

    Nothing bounds a single update: pair it with a penalty, or keep the updates per generation few. ``clamp`` bounds the
    log-ratio before exp (the reference has none); its gradient is 0 outside.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    clamp: float = option(60.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|, against overflow only")

    def __call__(self, batch: TokenBatch) -> Output:
        return -batch.token_advantages * batch.log_ratio.clamp(-self.clamp, self.clamp).exp(), {}
