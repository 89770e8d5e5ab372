"""How the completions of a generation lie on the processes, for verifiers that judge whole groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelerate.utils import gather_object


@dataclass(frozen=True)
class GroupRanks:
    """See ``entropostat.reward.groups``. TRL asks every rank for as many completions, in the order of the groups."""

    trainer: Any

    @property
    def size(self) -> int:
        training: bool = self.trainer.model.training
        members: int = self.trainer.num_generations if training else self.trainer.num_generations_eval
        return members

    @property
    def rank(self) -> int:
        index: int = self.trainer.accelerator.process_index
        return index

    @property
    def world(self) -> int:
        count: int = self.trainer.accelerator.num_processes
        return count

    def gather(self, rows: list[Any]) -> list[Any]:
        every: list[Any] = gather_object(rows) if self.world > 1 else rows
        return every
