"""PPO on the wrapped GRPO trainer: `gae` for the advantages, and a critic inside the policy's forward (critic.py).

Generation, clipping, the sampler's correction, adapters and engines are as in GRPO. The KL to the reference belongs to the
reward, `gae.kl_coef`, or to a penalty.
"""

from __future__ import annotations

from typing import Any

from accelerate.utils import is_peft_model

from entropostat.recipe.blocks import Critic as CriticBlock
from entropostat.recipe.objective import as_control
from entropostat.rl.control import Control
from entropostat.trainers.critic import CriticOwner
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.optim.muon import check_names
from entropostat.trainers.trl.config import by_name
from entropostat.trainers.trl.ppo_config import PPO


class EntropyPPOTrainer(EntropyGRPOTrainer):
    """EntropyGRPOTrainer with ``critic=``, that block of a recipe. The advantages of ``objective`` begin with `gae`.

    ``args`` is a ``PPOConfig`` where one completion per prompt is wanted; a GRPOConfig serves as well. A critic that lies
    beside the model's own files, as ``save_model`` writes it, is taken over. With ``optimizers=`` the critic, which does not
    exist before the trainer, joins the given optimizer as a group of its own, and follows the schedule of its first group.
    """

    kind = PPO
    critic: CriticOwner

    def __init__(self, *args: Any, objective: Any = None, critic: CriticBlock | None = None, **kwargs: Any) -> None:
        block = critic or CriticBlock()
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
        if is_peft_model(self.model) and block.trunk == "separate":
            raise ValueError(
                "critic.trunk: separate would copy the adapters; use shared with model.peft, or train all weights"
            )
        self.critic = CriticOwner(self, block)
        if self.muon is not None and self.is_deepspeed_enabled:
            check_names(self.model)


def check_objective(control: Control) -> None:
    """Raises ValueError for an objective that PPO cannot train."""
    first = next((part.term.info.name for part in control.template.advantages), "none")
    if first != "gae":
        raise ValueError(
            f"objective.advantages: {first} comes first, and trainer.kind: ppo needs gae there; use [gae: {{}}]"
        )
    if "log_z" in control.template.needs:
        raise ValueError(
            f"objective.loss.{control.template.loss.name}: learns log Z of a prompt in place of the values of a critic; use "
            "EntropyGRPOTrainer"
        )
    refill = control.template.refill
    if refill is not None:
        raise ValueError(
            f"objective.data.{refill.name}: replaces rows whose values are known, and gae learns from groups of equal "
            "rewards too; leave it out"
        )
    sampler = control.template.sampler
    if sampler is not None and sampler.term.replaces:
        raise ValueError(
            f"objective.penalties.{sampler.name}.reference: true replaces rows whose values are known; set it to false"
        )
