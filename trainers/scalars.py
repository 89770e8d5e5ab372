"""Numbers of the run that a controller may move: the sampling temperature and a factor on the learning rate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from entropostat.rl.objective import Objective
from entropostat.trainers.sampling import temperature
from entropostat.trainers.vocabulary import innermost, logit_head


class ScalarsMixin:
    """Part of EntropyMixin. ``_held`` keeps the temperature of the generation that is in use."""

    objective: Objective
    _held: dict[str, float]
    model: Any
    ref_model: Any
    temperature: float
    accelerator: Any
    optimizer: Any
    lr_scheduler: Any
    _scoring: bool = False

    def _set_up_scalars(self) -> None:
        """Raises ValueError for a head whose logits are not proportional to the hidden states."""
        if self.objective.scalar("temperature") is None:
            return
        policy = innermost(self.model)
        if policy.get_output_embeddings().bias is not None or logit_head(policy.config, 1.0).softcap is not None:
            raise ValueError(
                f"objective.scalars.temperature: the head of {type(policy).__name__} has a bias or a soft cap, and its "
                "temperature is fixed at the start. Set sampler.temperature instead."
            )
        models = [policy]
        if self.ref_model is not None:
            models.append(self.accelerator.unwrap_model(self.ref_model))
        for model in models:
            model.base_model.register_forward_hook(self._cool)

    def _cool(self, module: Any, inputs: Any, output: Any) -> Any:
        """Scale the last hidden states: without a bias, that divides the logits, and TRL's head needs no other."""
        if self._scoring:
            output.last_hidden_state = output.last_hidden_state * (self.temperature / self._held["temperature"])
        return output

    @contextlib.contextmanager
    def _sampling_anew(self) -> Iterator[None]:
        """A generation at the temperature of this moment; it holds until the next one."""
        term = self.objective.scalar("temperature")
        if term is None or not self.model.training:
            yield
            return
        self._held["temperature"] = term.value
        with temperature(self, term.value):
            yield

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        """Score as the generation was sampled."""
        self._scoring = self.model.training and "temperature" in self._held
        try:
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)  # type: ignore[misc]
        finally:
            self._scoring = False

    def scale_learning_rate(self) -> None:
        """The scheduler's rate times our factor, for the step to come."""
        term = self.objective.scalar("learning_rate")
        if term is None:
            return
        for group, rate in zip(self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True):
            group["lr"] = rate * term.scale
