"""log Z of each prompt in a trainer, where the loss reads it: a head that learns by that loss and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from entropostat.rl.objective import Objective
from entropostat.rl.partition import Partition as Form
from entropostat.trainers.head import HeadOwner
from entropostat.trainers.model.partition_tap import PartitionTap
from entropostat.trainers.model.vocabulary import innermost
from entropostat.trainers.optim.muon import check_names
from entropostat.trainers.rollout.extra import Joined
from entropostat.trainers.trl.loss_pass import LossPass


class Partition:
    """The head of a trainer whose objective may read none, and then has none."""

    def __init__(self, trainer: Any, template: Objective, muon: Any) -> None:
        """``muon``: the block that asks for this optimizer, or None. Raises ValueError where the head cannot be trained."""
        self.owner: HeadOwner | None = None
        if (form := asked(template)) is None:
            return
        check_trainer(trainer, f"objective.loss.{template.loss.name}")
        self._tap = PartitionTap(innermost(trainer.model), form, trainer.args.seed)
        self.owner = HeadOwner(trainer, self._tap, form.learning_rate)
        if muon is not None and trainer.is_deepspeed_enabled:
            check_names(trainer.model)

    def reading(self, args: Sequence[Any], passed: LossPass | None) -> AbstractContextManager[None]:
        """Around a forward of the policy with TRL's ``args``: ids, attention, and how many columns are completions. Outside of a
        loss nobody reads."""
        if self.owner is None or passed is None:
            return nullcontext()
        ids, _, keep, *_ = args
        return self._tap.reading(ids.size(1) - keep)

    def take(self, passed: LossPass, joined: Joined | None) -> dict[str, Tensor]:
        """The batch field of the ordinary rows, with its graph; {} where nobody reads one."""
        if self.owner is None:
            return {}
        log_z = self._tap.take()
        log_z = log_z if joined is None else log_z[: joined.rows]
        passed.suspects["log_z"] = log_z
        return {"log_z": log_z}


def asked(template: Objective) -> Form | None:
    """How the head is made that the objective reads. Raises ValueError where a term reads one that nobody describes."""
    if "log_z" not in template.needs:
        return None
    if (form := template.loss.term.head) is None:
        name = next(part.name for part in template.parts if "log_z" in part.needs)
        raise ValueError(
            f"objective: {name} reads log_z, and objective.loss.{template.loss.name} says of no head for it; use flowrl"
        )
    return form


def check_trainer(trainer: Any, key: str) -> None:
    """``key`` is that of the loss. Raises ValueError."""
    if trainer.is_fsdp_enabled:
        raise ValueError(f"{key}: the head for log Z is not supported under FSDP; use ddp or a zero strategy")
    if trainer.args.sync_ref_model:
        raise ValueError(
            "sync_ref_model: true pairs every weight of the policy with one of the reference, which has no head for log Z; "
            "use objective.penalties.kl_ref.reference: ema"
        )
