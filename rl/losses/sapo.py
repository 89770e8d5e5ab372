"""SAPO: a soft gate on the ratio instead of a clip.

    L_t = -A (4 / tau) sigmoid(tau (r - 1)),    tau = tau_pos where A > 0, else tau_neg

Gao et al. 2025, Soft Adaptive Policy Optimization, arXiv:2511.20347. The gradient of a token is that of the unclipped
surrogate times 4 s (1 - s), s the sigmoid: 1 at r = 1, falling smoothly on both sides. ``tau_neg > tau_pos`` lets the
gradient of A < 0, which raises the rest of the vocabulary, fade sooner.

Paper, verl and TRL agree. ``trl`` of type sapo is the same loss, computed by TRL: take that one. This one bounds the
log-ratio before exp, as verl does at 20, and averages by any of TRL's normalisers.

Not to be confused with swarm sampling policy optimisation, also SAPO, which shares completions between machines.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate


@LOSSES.register(
    "sapo",
    paper="arXiv:2511.20347",
    needs=("old_logps",),
    reference="verl core_algos.py:1330; TRL 1.16 GRPOTrainer._compute_loss",
    provides={"gate": "Mean factor on the gradient, 1 on-policy and 0 far from it."},
)
@dataclass(frozen=True)
class SAPO(Surrogate):
    """A sigmoid of the ratio whose slope fades with distance: a trust region without an edge.

    The gate is inert when every generation serves one update: the ratio is then 1.
    """

    type: str = option("grpo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    tau_pos: float = option(1.0, above=0.0, doc="temperature of the gate where A > 0")
    tau_neg: float = option(1.05, above=0.0, doc="temperature of the gate where A <= 0")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|; no gradient outside")

    def __call__(self, batch: TokenBatch) -> Output:
        a = batch.token_advantages
        tau = torch.where(a > 0, a.new_tensor(self.tau_pos), a.new_tensor(self.tau_neg))
        gate = torch.sigmoid(tau * (batch.log_ratio.clamp(-self.clamp, self.clamp).exp() - 1))
        s = gate.detach()
        return -a * gate * 4 / tau, batch.means(gate=4 * s * (1 - s))
