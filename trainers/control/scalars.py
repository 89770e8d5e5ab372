"""Numbers of the run that a controller may move: the sampling temperature and a factor on the learning rate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from entropostat.recipe.generation_rules import ENGINE_TEMPERATURES, backend, beyond_engine
from entropostat.rl.control import Control
from entropostat.rl.objective import Objective
from entropostat.trainers.model.teacher import Teacher
from entropostat.trainers.model.vocabulary import innermost, logit_head
from entropostat.trainers.trl.sampling import temperature


def within_engine(control: Control, args: Any) -> Control:
    """Controllers move the temperature as far as what generates goes along. Raises ValueError for a constant one beyond."""
    part, by = control.template.scalar("temperature"), backend(vars(args))
    if part is None or by != "vllm":
        return control
    low, high = ENGINE_TEMPERATURES
    narrowed = tuple(
        replace(knob, low=max(knob.low, low), high=min(knob.high, high))
        if knob.slot == "scalars" and knob.field == "value"
        else knob
        for knob in control.knobs
    )
    if narrowed == control.knobs and (said := beyond_engine(part.value, by)):
        raise ValueError(f"objective.scalars.temperature: {said}")
    return replace(control, knobs=narrowed)


class Scalars:
    """Applies the ``scalars`` of an objective to a trainer. A temperature holds for a generation, and scoring goes by it."""

    def __init__(self, trainer: Any, objective: Objective, teacher: Teacher | None = None) -> None:
        """Raises ValueError for a head whose logits are not proportional to the hidden states."""
        self.trainer = trainer
        self.temperature: float | None = None
        """Of the generation that is in use, where the objective has one."""
        self._scoring = False
        if objective.scalar("temperature") is None:
            return
        policy = innermost(trainer.model)
        if policy.get_output_embeddings().bias is not None or logit_head(policy.config, 1.0).softcap is not None:
            raise ValueError(
                f"objective.scalars.temperature: the head of {type(policy).__name__} has a bias or a soft cap, and its "
                "temperature is fixed at the start. Set sampler.temperature instead."
            )
        models = [policy]
        if trainer.ref_model is not None:
            models.append(trainer.accelerator.unwrap_model(trainer.ref_model))
        if teacher is not None:
            models.append(teacher.inner)
        for model in models:
            model.base_model.register_forward_hook(self._cool)

    def _cool(self, module: Any, inputs: Any, output: Any) -> Any:
        """Scale the last hidden states: without a bias, that divides the logits, and TRL's head needs no other."""
        if self._scoring:
            assert self.temperature is not None
            output.last_hidden_state = output.last_hidden_state * (self.trainer.temperature / self.temperature)
        return output

    @contextlib.contextmanager
    def sampling_anew(self, objective: Objective) -> Iterator[None]:
        """A generation at the temperature of this moment; it holds until the next one."""
        term = objective.scalar("temperature")
        if term is None or not self.trainer.model.training:
            yield
            return
        self.temperature = term.value
        with temperature(self.trainer, term.value):
            yield

    @contextlib.contextmanager
    def scoring(self) -> Iterator[None]:
        """Inside, forwards score as the generation was sampled."""
        self._scoring = self.trainer.model.training and self.temperature is not None
        try:
            yield
        finally:
            self._scoring = False

    def scale_learning_rate(self, objective: Objective) -> None:
        """The scheduler's rate times our factor, for the step to come."""
        term = objective.scalar("learning_rate")
        if term is None:
            return
        scheduled = self.trainer.lr_scheduler.get_last_lr()
        for group, rate in zip(self.trainer.optimizer.param_groups, scheduled, strict=True):
            group["lr"] = rate * term.scale
