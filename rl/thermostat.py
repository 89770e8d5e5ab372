"""The thermostat: what training measures goes in, the objective at its next knob values comes out.

It knows no trainer, no files and no process groups; an engine, whichever it is, calls it in this order on every rank:

    thermostat.note_generation(batch)                        once per generation: signals that hold until the next
    thermostat.window.add(batch, metrics, objective.loss.term)   once per micro-batch, after its loss
    closed = thermostat.window.close(reducer, stop)          once per optimizer step: one collective
    thermostat.update(closed, step, steps, grad_norm)        where the step was applied
    thermostat.report()                                      what to log of the loops

``thermostat.objective`` is the one to train with until the next update. All ranks see the same numbers, and so reach the same
state. ``state_dict`` is JSON-able, and all that a checkpoint needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.control import REPORTED, Control, ControlState, watches
from entropostat.rl.objective import Objective
from entropostat.rl.signal_sums import rollout_signals, velocity
from entropostat.rl.signals import OLD_ENTROPY, REF_ENTROPY, ROLLOUT
from entropostat.rl.window import Closed, Window


class Thermostat:
    """A ``Control`` at work: its state, the signals that it is fed, and the objective that it has set last."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.state: ControlState = control.init()
        self.objective: Objective = control.objective(control.values(self.state))
        self.window = Window(control.signals)
        self.held: dict[str, float] = {}
        """Rollout signals of the last generation."""
        self.watches = watches(control)

    @property
    def rollout_needs(self) -> frozenset[str]:
        """Batch fields that the rollout phase reads, for terms and for controllers."""
        measured = {"old_entropy"} if self.control.signals & OLD_ENTROPY else set()
        return self.objective.rollout_needs | measured

    @property
    def reads_reference_entropy(self) -> bool:
        return bool(self.control.signals & REF_ENTROPY)

    def note_generation(self, batch: TokenBatch, ref_entropy: Tensor | None = None) -> dict[str, float]:
        """Measure a generation; ``batch.rewards`` are those that the run is judged by. Returns what to log, by signal.

        ``ref_entropy`` (N, T), nats, is of the reference on the same tokens; asked for by ``reads_reference_entropy``.
        """
        wanted = self.control.signals & set(ROLLOUT)
        if not wanted:
            return {}
        measured = rollout_signals(batch, ref_entropy if wanted & REF_ENTROPY else None, wanted)
        self.held |= measured
        if "reward_velocity" in wanted:
            self.held |= velocity(self.held, measured["reward"])
        return {name: self.held[name] for name in wanted - {"reward", "reward_std"}}

    def update(self, closed: Closed, step: int, steps: int, grad_norm: float = math.nan) -> None:
        """Move the controllers by one applied step, the ``step``-th of ``steps``. ``grad_norm``: before clipping."""
        run = {"step": float(step), "progress": step / max(steps, 1), "grad_norm": grad_norm}
        self.state = self.control.update(self.state, {**closed.signals, **closed.metrics, **run, **self.held})
        self._set_objective()

    def problems(self) -> Iterator[tuple[str, str]]:
        """(knob, what keeps its loop from holding its target), each once. To be asked after every update."""
        for path, watch in self.watches.items():
            yield from ((path, problem) for problem in watch.look(self.state[path]))

    def report(self) -> dict[str, float]:
        """``<knob>/<what>`` of every loop as it stands."""
        told: dict[str, float] = {}
        for path, state in self.state.items():
            told |= {f"{path}/{key}": state[key] for key in REPORTED if key in state}
            if state.get("missed") and "signal" in state:
                told[f"{path}/signal"] = math.nan  # the state has that of the last measurement
        return told

    # ------------------------------------------------------------------------------------------ checkpoints

    def state_dict(self) -> dict[str, Any]:
        seen = {path: watch.state_dict() for path, watch in self.watches.items()}
        return {"control": self.state, "signals": self.held, "watches": seen}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Knobs that the checkpoint does not know start afresh."""
        self.state |= {path: state for path, state in saved["control"].items() if path in self.state}
        self.held = dict(saved["signals"])
        for path, kept in saved.get("watches", {}).items():
            if path in self.watches:
                self.watches[path].restore(kept)
        self._set_objective()

    def _set_objective(self) -> None:
        self.objective = self.control.objective(self.control.values(self.state))
