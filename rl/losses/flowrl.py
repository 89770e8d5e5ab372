"""FlowRL: trajectory balance of the policy and of a learned log Z of each prompt, in place of a maximum of the reward.

    delta_i = log Z_i + mean_t (log pi - log ref) - beta mean_t A
    L = mean over completions of w_i delta_i^2,   w_i = min(exp(sum_t (log pi - log pi_old)), cap), a constant

FlowRL, arXiv:2509.15207, by the recipe that verl has of it: beta 15, cap 10; the reward is the advantage, log-probs are means over
tokens, and the ratio is of their sum. Where all delta are 0 a completion of n tokens has the probability ref exp(n beta A) / Z^n:
every good answer comes up in proportion, and not the best alone. log Z comes from a head on the last hidden states of the prompt, which learns
by the same loss. It is a baseline: in expectation, where w is 1, the policy's gradient is the same whatever it says.

Per token, so that a weight of 0 stops that token alone: L_t = w_i (sg[delta_i] + log Z_i - sg[log Z_i] + log pi_t - sg[log pi_t])^2,
whose mean over a completion has the value and the gradient of w_i delta_i^2.

Where paper and code differ: the guide beside the paper computes a bounded ratio, and then uses the unbounded one. The code's mean over
the prompt leaves its last token out, and its head drops a tenth of its units.

Not to be confused with Flow-GRPO (arXiv:2505.05470), which trains models of flow matching.

What we changed: a completion without tokens pulls no log Z, where there it pulls it to 0. Its head drops nothing, as `model.dropout`
off has it for all else. Its weights do not decay. A distance from the reference beyond 1e4 nats, and an impossible token, has no gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Metrics, Output, TokenBatch
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.measured import Mean
from entropostat.rl.mismatch import FAR
from entropostat.rl.partition import POOLS, Partition
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.sequence import row_count, row_mean
from entropostat.rl.term import Surrogate

DIVISOR = 1e-8
"""The recipe adds this to the token count under its means."""


@LOSSES.register(
    "flowrl",
    paper="arXiv:2509.15207",
    needs=("old_logps", "ref_logps", "log_z"),
    reference="verl-recipe flowrl/flowrl_actor.py:434",
    provides={
        "log_z": "Mean log Z over completions, nats.",
        "residual": "Mean size of delta over completions, nats.",
        "capped": "Share of completions whose weight is at its cap.",
    },
)
@dataclass(frozen=True)
class FlowRL(Surrogate):
    """Draw completions in proportion to exp(beta times their advantage), seen from the reference policy.

    It holds the reference model and a head for log Z, saved beside the policy as `log_z.safetensors`. The weight is 1 where every
    generation serves one update. Not under `trainer.kind: ppo`, and not under fsdp2.
    """

    type: str = option("grpo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    beta: float = option(15.0, above=0.0, doc="nats that an advantage of 1 is worth to each token of a completion")
    cap: float = option(10.0, above=0.0, doc="upper bound of the ratio of a completion to the old policy")
    layers: int = option(
        3, low=1, high=64, fixed=True, doc="linear layers of the head, all but the last as wide as the policy"
    )
    pool: str = option(
        "mean", choices=POOLS, doc="what the head reads: the mean state of the prompt, or its last token's"
    )
    detach: bool = option(False, doc="the error of log Z does not train the policy's backbone")
    learning_rate: float | None = option(
        None, above=0.0, high=10.0, fixed=True, doc="of the head; null: trainer.learning_rate"
    )

    stops_gradient = True

    @property
    def head(self) -> Partition:
        return Partition(self.layers, self.pool, self.detach, self.learning_rate)

    def _balance(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """(B, 1) delta and w, constants; 0 for a completion without tokens."""
        there = batch.valid.any(1, keepdim=True)
        away = row_mean(batch.difference(batch.require("ref_logps"), FAR), batch, DIVISOR)
        delta = (
            batch.require("log_z").unsqueeze(1) + away - self.beta * row_mean(batch.token_advantages, batch, DIVISOR)
        )
        # Bounded before the exponential: the sum over a long completion leaves float32.
        weight = batch.log_ratio.sum(1, keepdim=True).clamp(max=math.log(self.cap)).exp()
        return torch.where(there, delta, 0.0).detach(), torch.where(there, weight, 0.0).detach()

    def __call__(self, batch: TokenBatch) -> Output:
        delta, weight = self._balance(batch)
        there = batch.valid.any(1)
        log_z = torch.where(there, batch.require("log_z"), 0.0).unsqueeze(1)
        moved = batch.difference(batch.require("ref_logps"), FAR)
        count = row_count(batch)
        step = log_z - log_z.detach() + (moved - moved.detach()) * (count / (count + DIVISOR))
        capped = weight[:, 0] >= self.cap * (1 - 1e-6)
        told = {"log_z": log_z[:, 0], "residual": delta[:, 0].abs(), "capped": capped.to(weight.dtype)}
        metrics: Metrics = {name: Mean.over(value, there) for name, value in told.items()}
        return torch.where(batch.valid, weight * (delta + step).square(), 0.0), metrics
