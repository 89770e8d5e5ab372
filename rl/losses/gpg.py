"""GPG: the plain policy gradient, without ratio and without clip.

    L_t = -A log pi

Chu et al. 2025, GPG: Group Policy Gradient, arXiv:2504.02546. Only its loss: its advantages, the group-centred reward
times (batch size / samples with a signal), are another term. We follow verl; the paper's text was not at hand, and its
number is not confirmed.

The value says nothing about progress: it is as large as the log-probs are. On-policy the gradient is that of
``unclipped`` to the digit; from the second update of a generation on it is off-policy and uncorrected.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate


@LOSSES.register("gpg", paper="arXiv:2504.02546", reference="verl core_algos.py:1415")
@dataclass(frozen=True)
class GPG(Surrogate):
    """REINFORCE on the group's advantages; meant for one update per generation.

    Inert where the advantages are 0. It needs no old log-probs.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    floor: float = option(1e4, above=0.0, fixed=True, doc="log pi >= -floor, against -inf only; no gradient below")

    def __call__(self, batch: TokenBatch) -> Output:
        return -batch.token_advantages * batch.difference(batch.logps.new_zeros(()), self.floor), {}
