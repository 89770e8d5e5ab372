"""The objective as a callable over a whole batch.

    loss = ClientLoss({"advantages": ["grpo"], "loss": "ppo_clip", "penalties": ["kl_cov"]})
    value, metrics = loss(samples, logprobs)        one optimizer step: a whole generation, sequences of any lengths
    value.backward(); optimizer.step(); loss.step()

One process sees the whole batch, so that statistics over a generation are those of the batch. A generation that serves several
steps is computed once, and its parts follow:

    generation = loss.generation(samples)
    value, metrics = loss(generation.part(rows, iteration=1), logprobs)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from entropostat.client.normaliser import normalised
from entropostat.client.padding import cast, dtype_of, moved, padded, policies, ragged, start_of
from entropostat.client.phases import computed, whole_loss
from entropostat.client.refusals import LIVE, check_gives, refusals
from entropostat.client.sample import CARRIED, Generation, Part, Sample
from entropostat.recipe.objective import as_control
from entropostat.rl.batch import TokenBatch
from entropostat.rl.info import State
from entropostat.rl.measured import merged
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import LOCAL
from entropostat.rl.thermostat import Thermostat

log = logging.getLogger(__name__)
JUDGED = frozenset({"reward", "reward_std", "reward_velocity", "solved", "length"})
"""Signals of the rewards."""


class ClientLoss:
    """An objective at work in a loop of your own. It holds the controllers, and nothing of the model."""

    def __init__(
        self,
        objective: Any,
        *,
        gives: Iterable[str] = (),
        max_length: int | None = None,
        passes: int = 1,
        accumulate: int = 1,
        steps: int | None = None,
        seed: int = 0,
    ) -> None:
        """Raises ValueError, or RecipeError for a file, with one line for everything that this loop cannot carry.

        objective   a recipe's path, or the block ``objective`` of one as a mapping
        gives       batch fields that the loop has beyond those of every loop: ``ref_logps``, ``entropy``, ...
        max_length  tokens of the longest completion that may be sampled, for a loss of type dr_grpo
        passes      optimizer passes over a generation
        accumulate  losses of one optimizer step; each is divided by it
        steps       optimizer steps of the whole training, for schedules by progress
        seed        of random selections of tokens
        """
        for name, value in (
            ("max_length", max_length),
            ("passes", passes),
            ("accumulate", accumulate),
            ("steps", steps),
        ):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name}: must be a whole number, at least 1, not {value!r}")
        control = as_control(objective)
        self.gives = check_gives(gives)
        problems = [*refusals(control, self.gives, passes, steps)]
        if control.template.loss.term.aggregation == "dr_grpo" and max_length is None:
            name = control.template.loss.name
            problems.append(f"objective.loss.{name}.type: dr_grpo divides by the longest completion; give max_length=")
        if problems:
            raise ValueError("\n".join(problems))
        self.thermostat = Thermostat(control)
        self.max_length, self.accumulate, self.steps, self.seed = max_length, accumulate, steps, seed
        self.memory: dict[str, State] = {}
        """Of the terms of the slot ``rewards``."""
        self.generations = 0
        self.done = 0
        """Optimizer steps."""
        self._pending = 0

    @property
    def objective(self) -> Objective:
        """At the knob values of this step."""
        return self.thermostat.objective

    @property
    def estimates(self) -> bool:
        """The objective computes its advantages from rewards, and not from advantages that the samples have."""
        first = next(iter(self.objective.advantages), None)
        return first is not None and not first.term.reshapes

    @property
    def reads(self) -> frozenset[str]:
        """Attributes of a ``Sample`` that every sample must have, beside the mask."""
        return frozenset(CARRIED[field] for field in self._fields) - ({"sampler_logps"} - self.gives)

    @property
    def _fields(self) -> frozenset[str]:
        control = self.thermostat.control
        read = {*self.objective.needs, *self.thermostat.rollout_needs, *self.gives, "old_logps", "sampler_logps"}
        read = (read & CARRIED.keys()) - {"advantages"}
        read |= {"rewards", "unshaped"} if self.objective.rewards or control.signals & JUDGED else set()
        read |= {"groups", "unshaped"} if read & {"rewards", "unshaped"} else set()
        return frozenset(read if self.estimates else {*read, "advantages"})

    # ------------------------------------------------------------------------------------------ a generation

    def generation(self, samples: Sequence[Sample]) -> Generation:
        """Advantages and statistics over all ``samples``, once per generation; controllers of a generation see it, too."""
        if not samples:
            raise ValueError("samples: there are none; a loss takes at least one")
        for i, sample in enumerate(samples if self.estimates else ()):
            if sample.advantages is not None:
                name = self.objective.advantages[0].name
                raise ValueError(
                    f"samples[{i}].advantages: {name} estimates them from rewards; leave one of the two out"
                )
        samples = policies(samples, "sampler_logps" in self.gives)
        starts = tuple(start_of(sample, f"samples[{i}]") for i, sample in enumerate(samples))
        batch = padded(samples, starts, self._fields, dtype_of(samples))
        batch = batch.set(clip=self.objective.loss.term.clip, seed=self.seed, generation=self.generations)
        done = computed(self.thermostat, batch, self.memory)
        self.memory = done.memory
        self.generations += 1
        return Generation(samples, done.batch, done.rollout, starts, done.metrics)

    # ------------------------------------------------------------------------------------------ a loss

    def __call__(
        self, data: Sequence[Sample] | Generation | Part, logprobs: Sequence[Tensor], **live: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss, 0-dim and with gradient, and what its terms say. Samples are taken for a generation of their own.

        logprobs    one (T,) tensor a sample: log-probs of its tokens under the current policy, with gradient
        live        what ``gives`` has promised of the current policy, in the same form: ``entropy=...``
        """
        _check_live(live, self.gives & {*LIVE})
        trains = any(isinstance(row, Tensor) and row.requires_grad for row in logprobs)
        measured = trains and bool(self.thermostat.control.knobs)
        if measured and self._pending >= self.accumulate:
            raise ValueError(
                f"{self._pending} losses since the last step(), and accumulate is {self.accumulate}: call step() after each "
                "optimizer step, by which the controllers move"
            )
        generation = data if isinstance(data, Generation | Part) else self.generation(data)
        part = generation.part() if isinstance(generation, Generation) else generation
        mask = part.of(part.generation.batch.mask)
        logps = ragged(logprobs, part, "logprobs", mask)
        given = {name: ragged(rows, part, name, mask) for name, rows in live.items()}
        batch, objective = self._batch(part, logps, given), self.objective
        stats = moved(part.generation.rollout.stats, part, logps)

        def mean(x: Tensor) -> Tensor:
            return normalised(x, batch.mask, objective.loss.term.aggregation, batch.require("tokens"), self.max_length)

        loss, metrics = whole_loss(objective, batch, stats, mean)
        if measured:
            self.thermostat.window.add(objective.for_loss(batch, stats), metrics, objective.loss.term)
            self._pending += 1
        told = merged(metrics, LOCAL)
        return loss / self.accumulate, part.generation.metrics | told

    def _batch(self, part: Part, logps: Tensor, live: Mapping[str, Tensor]) -> TokenBatch:
        """The micro-batch as the loss phase sees it."""
        whole = part.generation.batch
        share = whole.mask.sum().clamp(min=1) * (len(part.rows) / len(whole.mask))
        names = ("mask", "old_logps", "sampler_logps", "ref_logps", "uids")
        fields: dict[str, Any] = {
            name: cast(part.of(x), logps) for name in names if (x := getattr(whole, name)) is not None
        }
        return TokenBatch(
            logps=logps,
            advantages=cast(part.of(part.generation.rollout.advantages), logps),
            tokens=cast(share, logps),
            clip=self.objective.loss.term.clip,
            seed=self.seed,
            generation=whole.generation,
            iteration=part.iteration,
            **{**fields, **live},
        )

    # ------------------------------------------------------------------------------------------ a step

    def step(self, grad_norm: float | None = None, applied: bool = True) -> dict[str, float]:
        """After each optimizer step: what the losses since the last one measured moves the controllers. Returns what to log.

        ``grad_norm`` is that before clipping. Where the optimizer step was left out (``applied`` False), nothing moves.
        """
        signals = self.thermostat.control.signals
        if signals and not self._pending:
            raise ValueError(
                "step(): no loss since the last one, and so nothing was measured; call it once per optimizer step"
            )
        if applied and "grad_norm" in signals and grad_norm is None:
            raise ValueError(
                "step(): a controller reads the norm of the gradient; give grad_norm=, that before clipping"
            )
        closed, self._pending = self.thermostat.window.close(), 0
        if applied:
            self.done += 1
            self.thermostat.update(
                closed, self.done, self.steps or self.done, math.nan if grad_norm is None else grad_norm
            )
            for knob, problem in self.thermostat.problems():
                log.warning("step %d, %s: %s", self.done, knob, problem)
        told = {f"signal/{name}": value for name, value in closed.signals.items()}
        return told | {f"control/{name}": value for name, value in self.thermostat.report().items()}

    def state_dict(self) -> dict[str, Any]:
        """JSON-able. To be taken after ``step``."""
        counts = {"generations": self.generations, "done": self.done}
        return {"thermostat": self.thermostat.state_dict(), "memory": self.memory, **counts}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Of a loss with the same objective. What was measured since the last step is forgotten."""
        self.thermostat.load_state_dict(saved["thermostat"])
        self.memory = {name: dict(state) for name, state in saved["memory"].items()}
        self.generations, self.done = saved["generations"], saved["done"]
        self.thermostat.window.close()
        self._pending = 0


def _check_live(live: Mapping[str, Sequence[Tensor]], promised: frozenset[str]) -> None:
    for name in sorted(promised - live.keys()):
        raise ValueError(f"{name}: promised by gives, and not given; pass {name}=, one (T,) tensor a sample")
    for name in sorted(live.keys() - promised):
        raise ValueError(f"{name}: given, and not promised; say gives=[{name!r}] where the loss is made")
