"""PPO on the wrapped GRPO trainer: a critic inside the policy's forward, `gae` for the advantages, a value loss beside TRL's.

    L = L_policy + coef * sum over tokens of l(V(s_t), V_old(s_t), R_t) / (tokens of the accumulation window)

V(s_t) is read from the hidden state that predicts token t. Values of generation time, and the returns R_t that `gae` estimates
with them, wait in TRL's buffer, so that several epochs (num_iterations) and mini-batches (steps_per_generation) are TRL's own.
Generation, clipping, the sampler's correction, adapters and engines are as in GRPO. The KL to the reference belongs to the
reward, `gae.kl_coef`, or to a penalty.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import is_peft_model
from accelerate.utils.deepspeed import DummyOptim  # `accelerate.utils` has it only beside DeepSpeed
from torch import Tensor

from entropostat.recipe.blocks import Critic as CriticBlock
from entropostat.rl.batch import TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.critic import combine, value_loss
from entropostat.trainers.adapter import opened_from
from entropostat.trainers.buffer import KEY
from entropostat.trainers.config import by_name
from entropostat.trainers.critic import FILE, CriticTap, join_schedule, set_apart, without_critic
from entropostat.trainers.extra import Joined
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.objective import as_control
from entropostat.trainers.ppo_config import PPO
from entropostat.trainers.rollouts import truncated
from entropostat.trainers.vocabulary import innermost

VALUES, RETURNS = f"{KEY}old_values", f"{KEY}returns"
"""(B, T + 1, K) and (B, T) in TRL's buffer."""


class EntropyPPOTrainer(EntropyGRPOTrainer):
    """EntropyGRPOTrainer with ``critic=``, that block of a recipe. The advantages of ``objective`` begin with `gae`.

    ``args`` is a ``PPOConfig`` where one completion per prompt is wanted; a GRPOConfig serves as well. A critic that lies
    beside the model's own files, as ``save_model`` writes it, is taken over. With ``optimizers=`` the critic, which does not
    exist before the trainer, joins the given optimizer as a group of its own, and follows the schedule of its first group.
    """

    kind = PPO

    def __init__(self, *args: Any, objective: Any = None, critic: CriticBlock | None = None, **kwargs: Any) -> None:
        self.critic_block = critic or CriticBlock()
        control = as_control(objective)
        check_objective(control)
        kwargs = by_name(args, kwargs)
        if kwargs.get("args") is not None and kwargs["args"].sync_ref_model:
            raise ValueError(
                "sync_ref_model: true pairs every weight of the policy with one of the reference, which has no critic; use "
                "objective.penalties.kl_ref.reference: ema"
            )
        super().__init__(objective=control, **kwargs)
        if self.is_fsdp_enabled:
            raise ValueError("trainer.kind: ppo is not supported under FSDP; use ddp or a zero strategy")
        if is_peft_model(self.model) and self.critic_block.trunk == "separate":
            raise ValueError(
                "critic.trunk: separate would copy the adapters; use shared with model.peft, or train all weights"
            )
        # After TRL's own __init__: adapters freeze what they find, and would adapt linear heads too.
        self._values = CriticTap(innermost(self.model), self.critic_block, self.args.seed)
        start = opened_from(self.model, innermost(self.model))
        if (start / FILE).is_file():
            self._values.load(start)
        if self.optimizer is not None:  # the caller's, who could not know of the critic
            set_apart(self.optimizer, self._values.critic, self._critic_rate)
            join_schedule(self.lr_scheduler, self.optimizer, self._critic_rate)
        if self.use_vllm:
            self.vllm_generation._iter_named_params = without_critic(self.vllm_generation._iter_named_params)
        if self._muon is not None and self.is_deepspeed_enabled:
            self._check_names()

    # ------------------------------------------------------------------------------------------ rollout phase

    @property
    def _rollout_needs(self) -> frozenset[str]:
        """With the old log-probs come the old values, from one forward pass."""
        return super()._rollout_needs | {"old_logps"}

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        with self._values.armed():
            return super()._generate_and_score_completions(*args, **kwargs)

    def _taken(self, length: int) -> dict[str, Any]:
        values = self._values.take(length)
        return super()._taken(length) | ({} if values is None else {"old_values": values.detach()})

    def _rollout_batch(self, output: dict[str, Any]) -> TokenBatch:
        batch = super()._rollout_batch(output)
        output[VALUES] = batch.require("old_values")
        return batch.set(old_values=self._combined(output[VALUES]), truncated=truncated(self, output))

    def _score(self, output: dict[str, Any], batch: TokenBatch) -> None:
        super()._score(output, batch)
        _, output[RETURNS] = self.objective.advantages[0].term.estimate(batch)
        logged = self._metrics["train" if self.model.training else "eval"]
        logged.pop("frac_reward_zero_std", None)  # a critic's advantages need no spread within a group
        for key, value in judged(batch, output[RETURNS], output[VALUES]).items():
            logged[key].append(value)

    # ------------------------------------------------------------------------------------------ loss phase

    def _compute_loss(self, *args: Any, **kwargs: Any) -> Tensor:
        with self._values.armed():
            return super()._compute_loss(*args, **kwargs)

    def _statistics(self, logps: Tensor, joined: Joined | None) -> dict[str, Any]:
        values = self._values.take(logps.size(1) if joined is None else joined.length)
        assert self._armed is not None and values is not None
        self._armed["values"] = values if joined is None else values[: joined.rows, : joined.keep + 1]
        return super()._statistics(logps, joined)

    def _additive_terms(self, inputs: dict[str, Any], armed: dict[str, Any]) -> Tensor:
        total = super()._additive_terms(inputs, armed)
        block, batch = self.critic_block, armed["batch"]
        values, old = armed["values"][:, :-1], inputs[VALUES][:, :-1]
        if not block.per_head:
            values, old = self._combined(values), self._combined(old)
        losses = value_loss(
            values, old, inputs[RETURNS], batch.mask,
            loss=block.loss, delta=block.delta, clip=block.clip, rule=block.clip_rule,
        )  # fmt: skip
        moved = (values.detach() - old).abs() > (torch.inf if block.clip is None else block.clip)
        if losses.dim() == 3:
            losses, moved = losses.mean(-1), moved.to(losses.dtype).mean(-1)
        found = batch.means(loss=losses.detach(), clip_fraction=moved.to(losses.dtype))
        armed["metrics"] |= {f"critic/{key}": value for key, value in found.items()}
        armed["suspects"] |= {"critic.values": values, "critic.loss": losses}
        steps = self.current_gradient_accumulation_steps if self.model.training else 1.0
        loss: Tensor = block.coef * losses.sum() / (batch.require("tokens") * steps)
        return loss if total is None else total + loss

    def _combined(self, values: Tensor) -> Tensor:
        """(..., K) -> (...)."""
        return combine(values, self.critic_block.combine, self.critic_block.alpha)

    # ------------------------------------------------------------------------------------------ optimizer and files

    def create_optimizer(self, model: Any = None) -> Any:
        optimizer = super().create_optimizer(model)
        if self._muon is None and not isinstance(optimizer, AcceleratedOptimizer | DummyOptim):
            set_apart(optimizer, self._values.critic, self._critic_rate)
        return optimizer

    def _decay_groups(self, parameters: list[Tensor]) -> list[dict[str, Any]]:
        mine = list(self._values.critic.parameters())
        others = super()._decay_groups([p for p in parameters if p not in set(mine)])
        return [*others, {"params": mine, "lr": self._critic_rate, "weight_decay": 0.0}]

    @property
    def _critic_rate(self) -> float:
        return float(self.critic_block.learning_rate or self.args.learning_rate)

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        """The policy as TRL saves it, and the critic beside it in a file of its own."""
        with self._values.apart():
            super().save_model(output_dir, *args, **kwargs)
        self._values.save(Path(output_dir or self.args.output_dir), self.args.should_save)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and not self.is_deepspeed_enabled:  # whose engine has restored all of the module
            self._values.load(Path(checkpoint))


def check_objective(control: Control) -> None:
    """Raises ValueError for an objective that PPO cannot train."""
    first = next((part.term.info.name for part in control.template.advantages), "none")
    if first != "gae":
        raise ValueError(
            f"objective.advantages: {first} comes first, and trainer.kind: ppo needs gae there; use [gae: {{}}]"
        )
    sampler = control.template.sampler
    if sampler is not None and sampler.term.replaces:
        raise ValueError(
            f"objective.penalties.{sampler.name}.reference: true replaces rows whose values are known; set it to false"
        )


@torch.no_grad()
def judged(batch: TokenBatch, returns: Tensor, heads: Tensor) -> dict[str, float]:
    """How well the values of the generation foretold the returns, over the tokens of all ranks. ``heads`` (B, T + 1, K)."""
    value = batch.require("old_values")[:, :-1]
    apart = (heads[:, :-1, :1] - heads[:, :-1]).abs().amax(-1)
    series = torch.stack(
        [torch.ones_like(value), value, returns, returns**2, returns - value, (returns - value) ** 2, apart]
    )
    count, v, r, r2, e, e2, d = batch.reducer.sum(torch.where(batch.valid, series, 0.0).double().sum((1, 2))).tolist()
    count = count or math.nan
    spread, error = r2 / count - (r / count) ** 2, e2 / count - (e / count) ** 2
    found = {"critic/value": v / count, "critic/return": r / count}
    found["critic/explained_variance"] = 0.0 if spread <= 1e-12 else 1 - error / spread
    return found | ({"critic/disagreement": d / count} if heads.size(-1) > 1 else {})
