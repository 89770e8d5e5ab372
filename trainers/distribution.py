"""One distribution for the policy that samples, the one that trains, and those it is compared with."""

from __future__ import annotations

import logging
from typing import Any, Literal

from entropostat.recipe.blocks import Model
from entropostat.trainers.dropout import turn_off
from entropostat.trainers.positions import count_from_first_token
from entropostat.trainers.reward_padding import RewardModelMixin

log = logging.getLogger(__name__)


class DistributionMixin(RewardModelMixin):
    """Behind EntropyMixin, which gives every argument by name. Takes ``dropout``, that key of a recipe's ``model`` block."""

    accelerator: Any
    args: Any
    model: Any
    ref_model: Any

    def __init__(self, *, dropout: Literal["off", "keep"] | None = None, **kwargs: Any) -> None:
        self.dropout = dropout or Model.model_fields["dropout"].default
        if self.dropout not in ("off", "keep"):
            raise ValueError(f"dropout: {dropout!r} is neither 'off' nor 'keep'")
        if self.dropout == "keep" and kwargs["args"].disable_dropout:
            raise ValueError("dropout: 'keep' and disable_dropout: true contradict each other; leave one of them out")
        super().__init__(**kwargs)
        for model in self._models():
            count_from_first_token(model)
        found = self.turn_dropout_off()
        if found and self.accelerator.is_main_process:
            log.warning(
                f"dropout is off in the policy and its reference ({', '.join(found)}): with it the trained distribution "
                "would not be the one that sampled; dropout: keep leaves it on"
            )

    def turn_dropout_off(self) -> list[str]:
        """In all models, unless it is kept; again after a model has got new parts. Names of the rates that were not 0."""
        return [] if self.dropout == "keep" else sorted({name for model in self._models() for name in turn_off(model)})

    def _models(self) -> list[Any]:
        """The policy, and the reference where it is another model, out of what engines wrap around them."""
        references = [] if self.ref_model is None else [self.accelerator.unwrap_model(self.ref_model)]
        return [self.model, *references]
