"""One distribution for the policy that samples, the one that trains, and those it is compared with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from entropostat.recipe.blocks import Model
from entropostat.trainers.model.dropout import turn_off
from entropostat.trainers.model.positions import count_from_first_token
from entropostat.trainers.model.reward_padding import OwnPadding

log = logging.getLogger(__name__)


class Distribution:
    """What would make two forwards of one model differ: dropout, positions that count padding, another padding token."""

    def __init__(self, dropout: Literal["off", "keep"] | None, named: Mapping[str, Any]) -> None:
        """Before TRL has read its arguments, ``named``. ``dropout``: that key of a recipe's ``model`` block."""
        self.dropout = dropout or Model.model_fields["dropout"].default
        if self.dropout not in ("off", "keep"):
            raise ValueError(f"dropout: {dropout!r} is neither 'off' nor 'keep'")
        if self.dropout == "keep" and named["args"].disable_dropout:
            raise ValueError("dropout: 'keep' and disable_dropout: true contradict each other; leave one of them out")
        self._padding = OwnPadding(named)

    def settle(self, trainer: Any) -> None:
        """Once the models are there."""
        self._padding.settle(trainer)
        for model in models(trainer):
            count_from_first_token(model)
        names = self.turn_dropout_off(trainer)
        if names and trainer.accelerator.is_main_process:
            log.warning(
                f"dropout is off in the policy and its reference ({', '.join(names)}): with it the trained distribution "
                "would not be the one that sampled; dropout: keep leaves it on"
            )

    def turn_dropout_off(self, trainer: Any) -> list[str]:
        """In all models, unless it is kept; again after a model has got new parts. Names of the rates that were not 0."""
        if self.dropout == "keep":
            return []
        return sorted({name for model in models(trainer) for name in turn_off(model)})


def models(trainer: Any) -> list[Any]:
    """The policy, and the reference where it is another model, out of what engines wrap around them."""
    references = [] if trainer.ref_model is None else [trainer.accelerator.unwrap_model(trainer.ref_model)]
    return [trainer.model, *references]
