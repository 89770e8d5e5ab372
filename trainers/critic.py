"""PPO's critic in a trainer: values with every forward, returns once per generation, a value loss beside TRL's.

    L = L_policy + coef * sum over tokens of l(V(s_t), V_old(s_t), R_t) / (tokens of the accumulation window)

V(s_t) is read from the hidden state that predicts token t. Values of generation time, and the returns R_t that `gae` estimates
with them, wait in TRL's buffer, so that several epochs (num_iterations) and mini-batches (steps_per_generation) are TRL's own.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from entropostat.recipe.blocks import Critic as CriticBlock
from entropostat.rl.batch import TokenBatch
from entropostat.rl.critic import combine, value_loss
from entropostat.rl.objective import Objective
from entropostat.rl.term import CriticAdvantage
from entropostat.trainers.head import HeadOwner
from entropostat.trainers.model.critic_tap import CriticTap
from entropostat.trainers.model.vocabulary import innermost
from entropostat.trainers.rollout.extra import Joined
from entropostat.trainers.trl.buffer import KEY
from entropostat.trainers.trl.log import note
from entropostat.trainers.trl.loss_pass import LossPass, micro_batches

VALUES, RETURNS = f"{KEY}old_values", f"{KEY}returns"
"""(B, T + 1, K) and (B, T) in TRL's buffer."""


class CriticOwner(HeadOwner):
    """Adds a critic to a trainer's policy, which trains with it."""

    def __init__(self, trainer: Any, block: CriticBlock) -> None:
        self.block = block
        self.tap = CriticTap(innermost(trainer.model), block, trainer.args.seed)
        super().__init__(trainer, self.tap, block.learning_rate)

    def combined(self, values: Tensor) -> Tensor:
        """(..., K) -> (...)."""
        return combine(values, self.block.combine, self.block.alpha)

    def armed(self) -> AbstractContextManager[None]:
        """Inside, forwards of the policy give values."""
        return self.tap.armed()

    # ------------------------------------------------------------------------------------------ rollout phase

    def take(self, length: int) -> dict[str, Tensor]:
        """The batch field of the forward passes since the last taking; {} without one."""
        values = self.tap.take(length)
        return {} if values is None else {"old_values": values.detach()}

    def keep_values(self, output: dict[str, Any], batch: TokenBatch) -> TokenBatch:
        """The generation as `gae` reads it; the heads' own values go into TRL's buffer."""
        output[VALUES] = batch.require("old_values")
        return batch.set(old_values=self.combined(output[VALUES]))

    def keep_returns(self, output: dict[str, Any], batch: TokenBatch, objective: Objective) -> None:
        first = objective.advantages[0].term
        assert isinstance(first, CriticAdvantage)
        _, output[RETURNS] = first.estimate(batch)
        trainer = self.trainer
        # A critic's advantages need no spread within a group.
        trainer._metrics["train" if trainer.model.training else "eval"].pop("frac_reward_zero_std", None)
        note(trainer, judged(batch, output[RETURNS], output[VALUES]))

    # ------------------------------------------------------------------------------------------ loss phase

    def take_values(self, length: int, joined: Joined | None) -> Tensor:
        """(B, T + 1, K) of the ordinary rows, with their graph."""
        values = self.tap.take(length if joined is None else joined.length)
        assert values is not None
        return values if joined is None else values[: joined.rows, : joined.keep + 1]

    def loss(self, inputs: dict[str, Any], passed: LossPass) -> Tensor:
        """0-dim, on the scale of TRL's loss."""
        block, batch = self.block, passed.batch
        assert passed.values is not None
        values, old = passed.values[:, :-1], inputs[VALUES][:, :-1]
        if not block.per_head:
            values, old = self.combined(values), self.combined(old)
        losses = value_loss(
            values, old, inputs[RETURNS], batch.mask,
            loss=block.loss, delta=block.delta, clip=block.clip, rule=block.clip_rule,
        )  # fmt: skip
        moved = (values.detach() - old).abs() > (torch.inf if block.clip is None else block.clip)
        if losses.dim() == 3:
            losses, moved = losses.mean(-1), moved.to(losses.dtype).mean(-1)
        means = batch.means(loss=losses.detach(), clip_fraction=moved.to(losses.dtype))
        passed.metrics |= {f"critic/{key}": value for key, value in means.items()}
        passed.suspects |= {"critic.values": values, "critic.loss": losses}
        scale = batch.require("tokens") * micro_batches(self.trainer)
        return block.coef * losses.sum() / scale


@torch.no_grad()
def judged(batch: TokenBatch, returns: Tensor, heads: Tensor) -> dict[str, float]:
    """How well the values of the generation foretold the returns, over the tokens of all ranks. ``heads`` (B, T + 1, K)."""
    value = batch.require("old_values")[:, :-1]
    apart = (heads[:, :-1, :1] - heads[:, :-1]).abs().amax(-1)
    series = {
        "count": torch.ones_like(value),
        "value": value,
        "return": returns,
        "square": returns**2,
        "error": returns - value,
        "error_square": (returns - value) ** 2,
        "disagreement": apart,
    }
    stacked = torch.stack(list(series.values())).masked_fill_(batch.invalid, 0.0)
    total = dict(zip(series, batch.reducer.sum(stacked.double().sum((1, 2))).tolist(), strict=True))
    count = total.pop("count") or math.nan
    mean = {name: each / count for name, each in total.items()}
    spread, error = mean["square"] - mean["return"] ** 2, mean["error_square"] - mean["error"] ** 2
    told = {"critic/value": mean["value"], "critic/return": mean["return"]}
    told["critic/explained_variance"] = 0.0 if spread <= 1e-12 else 1 - error / spread
    return told | ({"critic/disagreement": mean["disagreement"]} if heads.size(-1) > 1 else {})
