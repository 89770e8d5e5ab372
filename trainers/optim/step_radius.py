"""The safe step radius in training: measures how far an optimizer step moves the logits, and shortens one that goes too far.

In one process and under DDP: one forward before the step, the step, one forward after it, and where r is above the target
weights <- old + s * (new - old), with all that the optimizer put in, weight decay included. Its moments stay. A network
saturates: half of a far step moves the logits by more than half. So a shortened step is measured again, up to ``ROUNDS`` times.

DeepSpeed's engine steps inside the backward pass and splits what it updates, so there the last measured step decides: s
scales the learning rate of the next one. The same holds for the steps between two measurements (``every`` above 1). The
first step of a run is then not governed, and a spike that comes from the gradient is met one step late.

``rl/radius.py`` has the formula, its source, and what is proxy in it.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import maybe_gather_lm_head_ctx

from entropostat.recipe.blocks import StepRadius
from entropostat.rl.radius import Readout, change_spread, step_ratio, step_scale
from entropostat.rl.reduce import Reducer
from entropostat.trainers.model.vocabulary import innermost, logit_head
from entropostat.trainers.state.memory import Remembering
from entropostat.trainers.trl.aggregation import completion_mask
from entropostat.trainers.trl.scoring import score_tokens

ROUNDS = 4
"""Times that one step is measured at most."""
SLACK = 1.1
"""A shortened step is short enough within a tenth of the target."""


def make_governor(trainer: Any, settings: StepRadius | None, reducer: Reducer) -> StepGovernor | None:
    """None where the recipe asks for none."""
    return None if settings is None else StepGovernor(trainer, settings, reducer)


class StepGovernor(Remembering):
    """Keeps the optimizer's steps inside the safe radius.

    Inert while ``radius/r``, of the step that the optimizer wants, stays below the target, which at usual learning rates is
    always: it is an airbag. Watch ``radius/scale``, the share of the step that is made: where it is below 1 for long, the
    learning rate is too high. 0 means that a step led to weights that are not numbers, and was not made.
    """

    def __init__(self, trainer: Any, settings: StepRadius, reducer: Reducer) -> None:
        if trainer.is_fsdp_enabled:
            raise ValueError(
                "optimizer.step_radius: FSDP is not supported; use ddp or a zero strategy, or leave it out"
            )
        self.trainer, self.settings, self.reducer = trainer, settings, reducer
        self.shortens = not trainer.is_deepspeed_enabled
        self.model: Any = innermost(trainer.model)
        self.head = logit_head(self.model.config, trainer.temperature)
        self.rate: float | None = None
        """r of the last measured step per unit of learning rate."""
        self._due, self._foreseen = False, 1.0
        self._rates: list[float] = []
        """Learning rates of the optimizer's groups as the scheduler set them."""
        self._inputs: dict[str, Any] = {}
        self._chosen: Tensor | None = None
        self._before: Readout | None = None
        self._old: dict[Tensor, Tensor] = {}
        """Trainable weight -> its copy from before the step."""

    # ------------------------------------------------------------------------------------------ before the step

    def watch(self, inputs: dict[str, Any], penalised: bool) -> None:
        """Before the loss of every micro-batch. The last of a window is the one that is measured.

        ``penalised``: the loss has parts beside the advantages, and every token enters it.
        """
        trainer = self.trainer
        if not trainer.model.training or not trainer.accelerator.sync_gradients:
            return
        self._due = trainer.state.global_step % self.settings.every == 0
        if self._due:
            self._inputs, self._chosen = inputs, self.counted(inputs, penalised)
            if not self.shortens:
                self._remember()
        self._rates = [group["lr"] for group in trainer.optimizer.param_groups]
        measured = self._due and self.shortens
        r = 0.0 if self.rate is None or measured else self.rate * self._rates[0]
        self._foreseen = step_scale(r, self.settings.target)
        for group in trainer.optimizer.param_groups:
            group["lr"] *= self._foreseen

    def counted(self, inputs: dict[str, Any], penalised: bool) -> Tensor:
        """(B, T) bool: the tokens that enter the loss, or all completion tokens where there are none on any rank."""
        valid = completion_mask(inputs).bool()
        advantages = inputs["advantages"]
        moving = advantages if advantages.dim() == 2 else advantages.unsqueeze(1)
        chosen = valid if penalised else valid & (moving != 0)
        return chosen if float(self.reducer.sum(chosen.sum().float())) else valid

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._due and self.shortens:
            weights = [p for p in self.trainer.model.parameters() if p.requires_grad]
            self._old = {p: p.detach().clone() for p in weights}
            self._remember()

    def _remember(self) -> None:
        """The readout before the step. Its head is a copy: the next values come into the same place."""
        now = self.readout()
        with self._gathered():
            copies = (x if x is None else self._old.get(x, x.detach()) for x in (now.weight, now.bias))
            weight, bias = copies if self.shortens else (x if x is None else x.clone() for x in copies)
        assert weight is not None
        self._before = Readout(now.hidden, weight, bias)

    # ------------------------------------------------------------------------------------------ after the step

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        groups = self.trainer.optimizer.param_groups
        used = self._rates[0] * self._foreseen
        for group, rate in zip(groups, self._rates, strict=True):
            if group["lr"] == rate * self._foreseen:  # unless DeepSpeed's engine has stepped its own scheduler already
                group["lr"] = rate  # a scheduler that goes on from the last value must not see ours
        logged = self.trainer._metrics["train"]
        scale = self._foreseen
        if self._due and not self.trainer.accelerator.optimizer_step_was_skipped:
            wanted = r = self._ratio()
            if self.shortens:
                scale, r = self._shorten(r)
            else:
                wanted = r / scale
            if used > 0 and scale > 0 and math.isfinite(r):
                self.rate = r / (used * scale if self.shortens else used)
            logged["radius/r"].append(wanted)
        logged["radius/scale"].append(scale)
        self._inputs, self._chosen, self._before, self._old = {}, None, None, {}

    def _shorten(self, r: float) -> tuple[float, float]:
        """Share of the step that is made in the end, and its r."""
        total, rounds = step_scale(r, self.settings.target), 1
        self._go_back(total)
        while 0 < total < 1 and rounds < ROUNDS:
            r, rounds = self._ratio(), rounds + 1
            if r <= SLACK * self.settings.target:
                break
            share = step_scale(r, self.settings.target)
            total *= share
            self._go_back(share)
        return total, r

    @torch.no_grad()
    def _go_back(self, share: float) -> None:
        """Keep ``share`` of the way from the old weights to those in place."""
        for weight, old in self._old.items() if share < 1 else ():
            weight.copy_(torch.lerp(old, weight, share) if share > 0 else old)

    def _ratio(self) -> float:
        """r between the weights before the step and those in place."""
        assert self._before is not None
        now = self.readout()
        with self._gathered():
            spread = change_spread(self._before, now, self.head)
        return float(step_ratio(spread, self.settings.statistic, self.settings.quantile, self.reducer))

    # ------------------------------------------------------------------------------------------ the model

    def readout(self) -> Readout:
        """The chosen tokens of the micro-batch at the weights in place, by the same call as for the loss."""
        states: list[Tensor] = []

        def keep(module: Any, args: Any, output: Any) -> None:
            states.append(output.last_hidden_state)

        handle, training = self.model.base_model.register_forward_hook(keep), self.trainer.model.training
        try:
            self.trainer.model.eval()
            score_tokens(self.trainer, self._inputs)
        finally:
            handle.remove()
            self.trainer.model.train(training)
        chosen = self._chosen
        assert chosen is not None
        head = self.model.get_output_embeddings()
        return Readout(torch.cat(states)[:, :-1][:, -chosen.size(1) :][chosen], head.weight, head.bias)

    def _gathered(self) -> Any:
        head = self.model.get_output_embeddings()
        return functools.partial(maybe_gather_lm_head_ctx, head.weight, head.bias)()

    # ------------------------------------------------------------------------------------------ checkpoints

    def kept(self) -> dict[str, Any]:
        return {"rate": self.rate}

    def restore(self, kept: dict[str, Any], checkpoint: Path | None) -> None:
        self.rate = kept.get("rate", self.rate)
