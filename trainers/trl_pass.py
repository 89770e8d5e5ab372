"""TRL's own pass over a micro-batch: the scalars and tensors that it sees of the objective, and what its log says of it.

Where the policy loss is ours, TRL's has nothing to do. It gets advantages of 0 and a ratio of 1, so that its share of the loss
is 0 whatever lies in the log-probs, and what it logs of that empty loss is replaced: the clip shares by those of our loss, or
by nothing where ours has no bounds.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import Reducer
from entropostat.trainers.window import Window

SUMMED = ("dapo", "cispo", "vespo")
"""TRL's loss types whose logged ``policy_loss`` is already shared out over the accumulated micro-batches."""


class TRLPassMixin:
    """Part of EntropyMixin."""

    objective: Objective
    accelerator: Any
    model: Any
    loss_type: str
    current_gradient_accumulation_steps: int
    _owns_reference: bool
    _armed: dict[str, Any] | None
    _metrics: dict[str, Any]
    _reducer: Reducer
    _window: Window

    @contextlib.contextmanager
    def _trl_scalars(self) -> Iterator[None]:
        """TRL's own KL off where ours replaces it, and its clip range at this step's values; restored afterwards."""
        term = self.objective.loss.term
        wanted = {"beta": 0.0} if self._owns_reference else {}
        if term.delegated:
            wanted |= dict(zip(("epsilon_low", "epsilon_high"), term.clip_range, strict=True))
        before = {name: getattr(self, name) for name in wanted}
        for name, value in wanted.items():
            setattr(self, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def _logps_for_trl(self, logps: Tensor) -> Tensor:
        """(B, T) what TRL's loss reads as the policy's log-probs: others than ``logps`` where the policy loss is ours.

        A far old log-prob would give TRL inf * 0, which is NaN. Nothing of TRL's needs the true ones: its own KL is refused beside
        a loss of ours.
        """
        if self._armed is None or self.objective.loss.term.delegated:
            return logps
        inputs = self._armed["inputs"]
        inputs["advantages"] = torch.zeros_like(inputs["advantages"])
        inputs.pop("old_per_token_logps", None)
        return torch.zeros_like(logps)

    # ------------------------------------------------------------------------------------------ what TRL has logged

    def _amend_log(self, armed: dict[str, Any], extra: Tensor | None) -> None:
        """After TRL's pass, and before the next: its numbers of a loss that it did not compute.

        ``extra`` is what we add to its loss: part of the loss without the bonus of TRL's own, which is its ``policy_loss``.
        """
        training = self.model.training
        logged = self._metrics["train" if training else "eval"]
        if extra is not None and logged.get("policy_loss"):
            steps = self.current_gradient_accumulation_steps if training and self.loss_type not in SUMMED else 1.0
            added = self._reducer.sum(extra.detach().double() * steps) / self.accelerator.num_processes
            logged["policy_loss"][-1] += added.item()
        term = self.objective.loss.term
        if term.delegated:
            return
        for key in [key for key in logged if key.startswith("clip_ratio/")]:
            logged[key].pop()
            if not logged[key]:
                del logged[key]
        if term.holds == "nothing":
            return
        batch, weight = armed["batch"].detached(), armed["weight"]
        seen = batch if weight is None else batch.set(advantages=batch.token_advantages * weight)  # as TRL sees its own
        sums, ends = clipped(batch, *term.bounded(seen))
        if training:
            self._window.pool("clipped", sums)
            self._window.peak("clipped", ends)
        else:
            ends = self._reducer.gather(ends.unsqueeze(0)).amax(0)
            self._log_clipped("eval", self._reducer.sum(sums).tolist(), ends.tolist())

    def close_window(self, applied: bool) -> bool:
        stop: bool = super().close_window(applied)  # type: ignore[misc]
        if "clipped" in self._window.pooled:
            self._log_clipped("train", self._window.pooled["clipped"], self._window.peaked["clipped"])
        return stop

    def _log_clipped(self, mode: str, sums: list[float], ends: list[float]) -> None:
        """Under TRL's names for the loss that is ours. NaN where no completion has a token."""
        low, high, count = sums[0], sums[1], sums[2] or math.nan
        ends = ends if sums[2] else [math.nan, math.nan]
        if self.objective.loss.term.holds == "weight":
            found = {"cispo_clip_ratio": high / count}
        else:
            means = {"low_mean": low / count, "high_mean": high / count, "region_mean": (low + high) / count}
            found = {
                f"clip_ratio/{key}": value for key, value in {**means, "low_min": -ends[0], "high_max": ends[1]}.items()
            }
        for key, value in found.items():
            self._metrics[mode][key].append(value)


@torch.no_grad()
def clipped(batch: TokenBatch, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Of what a loss holds at its bounds: (3,) float64 low, high, and how many there are in all; and (2,) minus the smallest low
    share of a completion, and the largest high one, -inf without a completion.

    Counts tokens, or completions where ``low`` and ``high`` are (B, 1): those that have a token.
    """
    there = batch.valid.any(1, keepdim=True) if low.size(1) == 1 else batch.valid
    rows = torch.stack([low & there, high & there, there]).double().sum(2)
    share = rows[:2] / rows[2].clamp(min=1)
    ends = torch.where(rows[2] > 0, torch.stack([-share[0], share[1]]), -math.inf)
    return rows.sum(1), ends.amax(1)
