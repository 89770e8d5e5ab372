"""DRO: the policy gradient without a ratio, and a quadratic pull towards the old policy.

    L_t = -(A log pi - beta / 2 (log pi - log pi_old)^2),    gradient -(A - beta (log pi - log pi_old)) d log pi

Direct Reward Optimisation, Richemond et al. 2024, arXiv:2405.19107, in the form of verl 0.9.1. The pull grows with the
distance, so nothing is clipped and every token keeps a gradient; where A is 0 it is all that is left. At a fixed point
log pi - log pi_old = A / beta: the tilt of the old policy by its advantages.

Paper and code differ (as far as known, not re-read): the paper is offline and learns a value V, its loss is the square of
r - V - beta (log pi - log ref); this is the part of the policy, with A for r - V. verl asks for beta; 0.05 is the size that
others give, not confirmed. Not to be confused with distributionally robust optimisation (group DRO), which shares the name.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.mismatch import FAR, log_likelihood
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate


@LOSSES.register(
    "dro",
    paper="arXiv:2405.19107",
    needs=("old_logps",),
    reference="verl 0.9.1 core_algos.py:2015",
    provides={"pull": "Mean squared log-ratio to the old policy, nats^2, without its coefficient."},
)
@dataclass(frozen=True)
class DRO(Surrogate):
    """The plain policy gradient, held by a quadratic penalty on the log-ratio instead of a clip.

    The pull is inert when every generation serves one update: the log-ratio is then 0.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    beta: float = option(0.05, above=0.0, doc="size of the pull: log pi may move by A / beta")

    def __call__(self, batch: TokenBatch) -> Output:
        square = batch.difference(batch.reference_logps, FAR).square()
        return -batch.token_advantages * log_likelihood(batch) + self.beta / 2 * square, batch.means(pull=square)
