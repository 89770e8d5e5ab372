"""The trainer's side of the controllers: signals in, knob values out, once per optimizer step."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from entropostat.recipe.signals import OLD_ENTROPY, REF_ENTROPY, ROLLOUT
from entropostat.rl.batch import TokenBatch
from entropostat.rl.control import REPORTED, Control, ControlState
from entropostat.rl.controllers.watch import Watch
from entropostat.rl.normaliser import RunningMoments
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import Reducer
from entropostat.trainers.checkpoint import restore_rank
from entropostat.trainers.signals import rollout_signals, velocity
from entropostat.trainers.token_means import TokenMeans
from entropostat.trainers.window import Window

log = logging.getLogger(__name__)


class ControlMixin:
    """Part of EntropyMixin: what happens between two optimizer steps."""

    thermostat: Control
    control_state: ControlState
    objective: Objective
    stop_requested: bool
    generations: int
    moments: RunningMoments
    _window: Window
    _token_means: dict[str, TokenMeans]
    _reducer: Reducer
    _metrics: dict[str, Any]
    _owns_reference: bool
    _held: dict[str, float]
    """Rollout signals of the last generation."""
    _watches: dict[str, Watch]
    monitored: Any
    _grad_norm: float = math.nan
    scale_learning_rate: Callable[[], None]
    tidy: Callable[[Path], None]
    accelerator: Any
    args: Any
    model: Any
    state: Any

    def close_window(self, applied: bool) -> bool:
        """After an optimizer step: log the window, move the controllers if the step was applied. True: stop now."""
        signals, metrics, stop = self._window.close(self._reducer, self.stop_requested)
        logged = self._metrics["train"]
        told = self._token_means["train"].told(self._window.counts) | metrics
        told["health/trained_tokens"] = self._window.tokens
        if self._owns_reference and "kl" in signals:
            told["kl"] = signals["kl"]
        for key, value in told.items():
            logged[key].append(value)
        if applied:
            signals |= metrics | self._run_signals()
            self.control_state = self.thermostat.update(self.control_state, signals)
            self._warn()
        for path, state in self.control_state.items():
            told = {key: state[key] for key in REPORTED if key in state}
            if state.get("missed") and "signal" in told:
                told["signal"] = math.nan  # the state has that of the last measurement
            for key, value in told.items():
                logged[f"control/{path}/{key}"].append(value)
        self.objective = self.thermostat.objective(self.thermostat.values(self.control_state))
        self.scale_learning_rate()
        return stop

    def _warn(self) -> None:
        """Say once what keeps a loop from holding its target. Every rank knows, the first one tells."""
        for path, watch in self._watches.items():
            for problem in watch.look(self.control_state[path]):
                if self.accelerator.is_main_process:
                    log.warning("step %d, %s: %s", self.state.global_step, path, problem)

    def restore_control(self, saved: dict[str, Any]) -> None:
        """Continue from a checkpoint. Knobs that the checkpoint does not know start afresh."""
        checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        self.tidy(checkpoint)
        if not restore_rank(self, checkpoint):
            log.warning("this checkpoint holds no rollout buffer for this rank: the run goes on with a new generation")
        self.control_state |= {path: state for path, state in saved["control"].items() if path in self.control_state}
        self.generations = saved["generations"]
        self.moments = RunningMoments.from_state(saved.get("moments", {}))
        self._held = dict(saved["signals"])
        for path, kept in saved.get("watches", {}).items():
            if path in self._watches:
                self._watches[path].restore(kept)
        self.monitored.restore(saved.get("monitors", {}))
        self.objective = self.thermostat.objective(self.thermostat.values(self.control_state))
        self.model.train()  # as between two steps: TRL's log goes by it, also where no step is left

    @property
    def _rollout_needs(self) -> frozenset[str]:
        """Batch fields that the rollout phase reads, for terms and for controllers."""
        measured = {"old_entropy"} if self.thermostat.signals & OLD_ENTROPY else set()
        return self.objective.rollout_needs | measured

    def _measure(self, batch: TokenBatch, ref_entropy: Tensor | None) -> None:
        """Once per generation: the signals that hold until the next one."""
        wanted = self.thermostat.signals & set(ROLLOUT)
        if wanted:
            found = rollout_signals(batch, ref_entropy if wanted & REF_ENTROPY else None, wanted)
            self._held |= found
            if "reward_velocity" in wanted:
                self._held |= velocity(self._held, found["reward"])
            for name in wanted - {"reward", "reward_std"}:
                self._metrics["train"][f"signal/{name}"].append(self._held[name])

    def _run_signals(self) -> dict[str, float]:
        total = max(self.state.max_steps, 1)
        run = {"step": float(self.state.global_step), "progress": self.state.global_step / total}
        return {**run, "grad_norm": self._grad_norm, **self._held}

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        """The norm that the trainer logs, kept for the controllers."""
        norm = super()._get_grad_norm(*args, **kwargs)  # type: ignore[misc]
        self._grad_norm = math.nan if norm is None else float(norm)
        return norm
