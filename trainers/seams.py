"""The switchboard between TRL's GRPOTrainer and the parts of ours that own something.

Every override of TRL's of a micro-batch and a step is here, those of a generation are in generation_seams.py; each calls super()
once. They hand over to the owners that the head of the class lists, in an order that stands in plain sight; no owner reaches for
another through the trainer. Nothing of TRL is copied.

    _get_per_token_logps_and_entropies, _compute_loss     a micro-batch: the tap between forward and loss, additive terms
    _get_grad_norm, close_window                          a step: judged, measured, and the controllers moved
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Literal

from torch import Tensor, nn

from entropostat.recipe.blocks import Faults, Optimizer, Shaping
from entropostat.recipe.machine_blocks import Tracking
from entropostat.recipe.objective import as_control
from entropostat.recipe.sampler_block import Sampler
from entropostat.rl.batch import Extra
from entropostat.rl.reduce import Reducer
from entropostat.rl.thermostat import Thermostat
from entropostat.trainers.control.clock import ControlCallback
from entropostat.trainers.control.scalars import Scalars, within_engine
from entropostat.trainers.critic import CriticOwner
from entropostat.trainers.generation_seams import GenerationSeams
from entropostat.trainers.model.distribution import Distribution
from entropostat.trainers.model.head_gradient import departs, pushed_tokens
from entropostat.trainers.model.teacher import Teacher, attach_teacher
from entropostat.trainers.model.vocabulary import Vocabulary
from entropostat.trainers.optim.muon import set_up_muon
from entropostat.trainers.optim.step_radius import StepGovernor, make_governor
from entropostat.trainers.partition import Partition
from entropostat.trainers.rollout.extra import KEY as EXTRA_KEY
from entropostat.trainers.rollout.extra import Joined
from entropostat.trainers.rollout.planning import Planning
from entropostat.trainers.rollout.processors import attach_processors
from entropostat.trainers.rollout.rollouts import check_rollouts
from entropostat.trainers.rollout.shaping import RewardShaper, check_shaping
from entropostat.trainers.rollout.stream import PromptStream
from entropostat.trainers.state.anchor import AnchorCallback, attach_anchor
from entropostat.trainers.state.saving import Saving
from entropostat.trainers.trl import batches
from entropostat.trainers.trl.buffer import iteration, unpacked
from entropostat.trainers.trl.config import GRPO, arguments, check_supported, reads_reference
from entropostat.trainers.trl.decoding import settle_decoding
from entropostat.trainers.trl.log import note
from entropostat.trainers.trl.loss_pass import LossPass, additive_terms
from entropostat.trainers.trl.own_loss import TRLPass
from entropostat.trainers.trl.reducer import make_reducer
from entropostat.trainers.trl.sampling import seed_again
from entropostat.trainers.trl.scoring import Scoring
from entropostat.trainers.watch.monitors import Monitors
from entropostat.trainers.watch.nonfinite import NonFiniteGuard

log = logging.getLogger(__name__)


class EntropyMixin(GenerationSeams):
    """Put before GRPOTrainer in the bases. Takes ``objective`` in any form of ``as_control``, and blocks of a recipe."""

    kind = GRPO

    thermostat: Thermostat
    """Signals in, the objective at its knob values out."""
    distribution: Distribution
    """One distribution for all forwards of a model."""
    shaper: RewardShaper
    """Rewards before any advantage is computed."""
    planning: Planning
    """Tokens of strategic phrases."""
    scoring: Scoring
    """Old log-probs and entropies of a generation."""
    stream: PromptStream
    """Which prompts are asked, and which groups of completions train."""
    teacher: Teacher | None
    """What distillation compares the policy with."""
    vocabulary: Vocabulary
    """Statistics of the whole distribution, of the forwards that are made anyway."""
    trl_pass: TRLPass
    """What TRL's own loss is told, and what its log says of it."""
    critic: CriticOwner | None = None
    """PPO's."""
    partition: Partition
    """log Z of each prompt, by a head that learns it."""
    monitors: Monitors
    """Look, and change nothing."""
    guard: NonFiniteGuard
    """No step of a number that is none."""
    radius: StepGovernor | None
    """No step that moves the logits too far."""
    muon: Any
    """The block of a recipe that asks for this optimizer, or None."""
    scalars: Scalars
    """The sampling temperature and the learning rate, where controllers move them."""
    anchor: AnchorCallback
    """The reference policy, where it moves."""
    saving: Saving
    """Checkpoints that are whole or not there."""

    _passing: LossPass | None = None
    """The micro-batch whose loss is being computed."""

    def __init__(
        self,
        *args: Any,
        objective: Any = None,
        optimizer: Optimizer | None = None,
        shaping: Shaping | None = None,
        faults: Faults | None = None,
        tracking: Tracking | None = None,
        stop: Sequence[int | str] = (),
        sampler: Sampler | None = None,
        dropout: Literal["off", "keep"] | None = None,
        teacher: Any = None,
        **kwargs: Any,
    ) -> None:
        control, shaping, optimizer = as_control(objective), shaping or Shaping(), optimizer or Optimizer()
        template = control.template
        check_supported(control)
        named = arguments(args, kwargs, control, self.kind)
        check_shaping(shaping, control)
        self.thermostat = Thermostat(within_engine(control, named["args"]))
        self.distribution = Distribution(dropout, named)
        super().__init__(**named)
        seed_again(self)
        check_rollouts(self, template)
        self.decoding = settle_decoding(self, stop)
        attach_processors(self, sampler or Sampler())
        self.distribution.settle(self)
        window, reducer = self.thermostat.window, make_reducer(self.accelerator)
        self._reducer: Reducer = reducer
        self.shaper = RewardShaper(self, shaping, reducer)
        self.teacher = attach_teacher(self, teacher, template)
        self.vocabulary = Vocabulary(self, template, self.teacher)
        self.trl_pass = TRLPass(self, template.loss.term, reads_reference(control), window, reducer)
        self.monitors = Monitors(self, tracking or Tracking(), window, reducer)
        self.guard = NonFiniteGuard(self, faults or Faults())
        self.scalars = Scalars(self, self.objective, self.teacher)
        self.saving = Saving(self)
        self.planning = Planning(self, template)
        self.scoring = Scoring(self, self.thermostat.reads_reference_entropy)
        self.stream = PromptStream(self, self.scoring, self.shaper.shape, reducer)
        self.muon, self.radius = optimizer.muon, make_governor(self, optimizer.step_radius, reducer)
        if self.muon is not None:
            set_up_muon(self, self.muon)
        self.partition = Partition(self, template, self.muon)
        # Whoever owns the run sets these four.
        self.answer_keys: Callable[[], Sequence[str | None]] | None = None
        self.fingerprint: Callable[[int], str | None] = lambda step: None
        self.prompts: object = None  # what holds the files of train_dataset, if somebody must
        self.stop_requested = False
        self.generations = 0
        self._grad_norm = math.nan
        # The guard judges a step before its window closes, and the reference follows last.
        for callback in (self.guard, self.radius, ControlCallback(self)):
            if callback is not None:
                self.add_callback(callback)
        self.anchor = attach_anchor(self, control, reducer, self.distribution)

    # ------------------------------------------------------------------------------------------ loss phase

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        joined, passed = None, self._passing
        if self.scoring.wants_entropy(model):
            kwargs["compute_entropy"] = True
        if passed is not None and f"{EXTRA_KEY}weights" in passed.inputs:
            joined = Joined.of(passed.inputs, args, self._tokenizer.pad_token_id)
            args = joined.ids, joined.attention, joined.length, *args[3:]
        looking = nullcontext() if passed is None else self.monitors.hidden.looking(args[2])
        ours = self.critic is not None or departs(self.objective)
        head = pushed_tokens(ours and passed is not None and self.model.training)
        with self.scalars.scoring(), self.partition.reading(args, passed), looking, head:
            logps, entropy, *rest = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if self.scoring.on:  # what the taps hold is a reference's, too: with its adapter off the policy is its own
            statistics = self.vocabulary.take(logps.size(1))
            statistics |= {} if self.critic is None else self.critic.take(logps.size(1))
            self.scoring.keep(model, entropy, statistics)
        extra = None
        if joined is not None:
            extra = joined.extra(logps, entropy)
            logps, entropy = joined.ordinary(logps), joined.ordinary(entropy)
        if passed is not None:
            self._tap(passed, logps, entropy, joined, extra)
        return self.trl_pass.seen(logps, self.objective.loss.term, passed), entropy, *rest

    def _tap(
        self, passed: LossPass, logps: Tensor, entropy: Tensor, joined: Joined | None = None, extra: Extra | None = None
    ) -> None:
        """Between TRL's forward pass and its reading of the advantages. With ``extra`` rows the taps hold those, too."""
        inputs = passed.inputs
        if self.critic is not None:
            passed.values = self.critic.take_values(logps.size(1), joined)
        where = (logps.size(1),) if joined is None else (joined.length, joined.ordinary)
        fields = {**self._constants(), **self.vocabulary.take(*where), "iteration": iteration(self)}
        fields |= self.partition.take(passed, joined)
        passed.stats |= unpacked(inputs)
        passed.batch = batches.of_micro_batch(self, inputs, logps, entropy, extra, fields)
        passed.weight, metrics = self.objective.weight(passed.batch, passed.stats, passed.each)
        passed.metrics |= metrics
        if passed.weight is not None:
            inputs["advantages"] = passed.batch.token_advantages * passed.weight

    def _compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        objective, training = self.objective, self.model.training
        if self.radius is not None:
            self.radius.watch(inputs, penalised=bool(objective.penalties))
        passed = self._passing = LossPass(dict(inputs))  # TRL's buffer is read again when num_iterations > 1
        try:
            taps = self.vocabulary.counting(objective, objective.needs, inputs)
            with self._with_values(), taps, self.trl_pass.told(objective.loss.term):
                loss: Tensor = super()._compute_loss(model, passed.inputs, *args, **kwargs)
        finally:
            self._passing = None
        passed.suspects[f"loss.{objective.loss.name}"] = loss
        extra = self._additive_terms(inputs, passed)
        self.trl_pass.amend_log(objective.loss.term, passed, extra)
        if training:
            self.thermostat.window.add(passed.batch, passed.metrics, objective.loss.term)
            self.monitors.note_loss(loss, inputs, passed, objective)
        loss = loss if extra is None else loss + extra
        return self.guard.watch(loss, inputs, passed) if training else loss

    def _additive_terms(self, inputs: dict[str, Any], passed: LossPass) -> Tensor | None:
        total = additive_terms(self, self.objective, inputs, passed)
        if self.critic is None:
            return total
        loss = self.critic.loss(inputs, passed)
        return loss if total is None else total + loss

    # ------------------------------------------------------------------------------------------ optimizer step

    def _get_grad_norm(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Of the gradient that the optimizer is about to step with: the same on every rank."""
        norm = super()._get_grad_norm(model, *args, **kwargs)
        self._grad_norm = math.nan if norm is None else float(norm)
        self.guard.judge(model, self._grad_norm)
        return norm

    def close_window(self, applied: bool) -> bool:
        """After an optimizer step: log the window, move the controllers if the step was applied. True: stop now."""
        thermostat, loss = self.thermostat, self.objective.loss.term
        self.monitors.before_close()
        closed = thermostat.window.close(self._reducer, self.stop_requested)
        told = self.trl_pass.token_means(closed) | closed.metrics | {"health/trained_tokens": closed.tokens}
        note(self, told | self.trl_pass.own_kl(closed), mode="train")
        if applied:
            thermostat.update(closed, self.state.global_step, self.state.max_steps, self._grad_norm)
            for knob, problem in thermostat.problems():
                if self.accelerator.is_main_process:
                    log.warning("step %d, %s: %s", self.state.global_step, knob, problem)
        note(self, thermostat.report(), "control/", "train")
        self.scalars.scale_learning_rate(self.objective)
        note(self, self.trl_pass.clip_shares(loss, closed), mode="train")
        self.monitors.after_close(closed, self.generations - 1)
        return closed.stop
