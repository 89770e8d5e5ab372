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
from entropostat.rl.reduce import Reducer
from entropostat.rl.term import Delegated, Loss
from entropostat.rl.window import Closed, Window
from entropostat.trainers.trl.aggregation import SUMMED
from entropostat.trainers.trl.log import note
from entropostat.trainers.trl.loss_pass import LossPass, micro_batches
from entropostat.trainers.trl.token_means import TokenMeans


class TRLPass:
    """What TRL's loss is told of a step, and what becomes of its numbers."""

    def __init__(self, trainer: Any, loss: Loss, owns_reference: bool, window: Window, reducer: Reducer) -> None:
        """``owns_reference``: the objective compares with the reference itself, and TRL's own KL is off."""
        self.trainer, self.owns_reference, self.window, self.reducer = trainer, owns_reference, window, reducer
        told = loss.delegated, trainer.importance_sampling_level == "sequence"
        self._means = {mode: TokenMeans(*told) for mode in ("train", "eval")}

    @property
    def _mode(self) -> str:
        return "train" if self.trainer.model.training else "eval"

    @contextlib.contextmanager
    def told(self, loss: Loss) -> Iterator[None]:
        """Inside, TRL's own KL is off where ours replaces it, its clip range is at this step's values, and what it logs of
        a micro-batch's tokens is kept apart, to be weighted by them."""
        wanted = {"beta": 0.0} if self.owns_reference else {}
        if isinstance(loss, Delegated):
            wanted |= dict(zip(("epsilon_low", "epsilon_high"), loss.clip_range, strict=True))
        before = {name: getattr(self.trainer, name) for name in wanted}
        for name, value in wanted.items():
            setattr(self.trainer, name, value)
        try:
            with self._means[self._mode].taking(self.trainer._metrics[self._mode]):
                yield
        finally:
            for name, value in before.items():
                setattr(self.trainer, name, value)

    def seen(self, logps: Tensor, loss: Loss, passed: LossPass | None) -> Tensor:
        """(B, T) what TRL's loss reads as the policy's log-probs: others than ``logps`` where the policy loss is ours.

        A far old log-prob would give TRL inf * 0, which is NaN. Nothing of TRL's needs the true ones: its own KL is refused beside
        a loss of ours.
        """
        if passed is None or loss.delegated:
            return logps
        passed.inputs["advantages"] = torch.zeros_like(passed.inputs["advantages"])
        passed.inputs.pop("old_per_token_logps", None)
        return torch.zeros_like(logps)

    # ------------------------------------------------------------------------------------------ what TRL has logged

    def amend_log(self, loss: Loss, passed: LossPass, extra: Tensor | None) -> None:
        """After TRL's pass, and before the next: its numbers of a loss that it did not compute.

        ``extra`` is what we add to its loss: part of the loss without the bonus of TRL's own, which is its ``policy_loss``.
        """
        trainer, training = self.trainer, self.trainer.model.training
        logged = trainer._metrics[self._mode]
        if extra is not None and logged.get("policy_loss"):
            # Where the sum is over the tokens of the window, what TRL logs is already shared out over its micro-batches.
            steps = micro_batches(trainer) if trainer.loss_type not in SUMMED else 1.0
            added = self.reducer.sum(extra.detach().double() * steps) / trainer.accelerator.num_processes
            logged["policy_loss"][-1] += added.item()
        if not loss.delegated:
            self._amend_clipped(loss, passed, logged)
        if not training:
            self._means["eval"].so_far(logged, float(self.reducer.sum(passed.batch.count)))

    def _amend_clipped(self, loss: Loss, passed: LossPass, logged: dict[str, list[float]]) -> None:
        for key in [key for key in logged if key.startswith("clip_ratio/")]:
            logged[key].pop()
            if not logged[key]:
                del logged[key]
        if loss.holds == "nothing":
            return
        batch, weight = passed.batch.detached(), passed.weight
        seen = batch if weight is None else batch.set(advantages=batch.token_advantages * weight)  # as TRL sees its own
        sums, ends = clipped(batch, *loss.bounded(seen))
        if self.trainer.model.training:
            self.window.pool("clipped", sums)
            self.window.peak("clipped", ends)
        else:
            ends = self.reducer.gather(ends.unsqueeze(0)).amax(0)
            note(self.trainer, clip_shares(loss, self.reducer.sum(sums).tolist(), ends.tolist()))

    def token_means(self, closed: Closed) -> dict[str, float]:
        """TRL's means over tokens, of the whole window."""
        return self._means["train"].told(closed.counts)

    def own_kl(self, closed: Closed) -> dict[str, float]:
        """Under TRL's name, where its own KL is off."""
        return {"kl": closed.signals["kl"]} if self.owns_reference and "kl" in closed.signals else {}

    def clip_shares(self, loss: Loss, closed: Closed) -> dict[str, float]:
        """Those of a loss that is ours; {} of TRL's."""
        return (
            clip_shares(loss, closed.pooled["clipped"], closed.peaked["clipped"]) if "clipped" in closed.pooled else {}
        )


def clip_shares(loss: Loss, sums: list[float], ends: list[float]) -> dict[str, float]:
    """Under TRL's names for the loss that is ours. NaN where no completion has a token."""
    low, high, count = sums[0], sums[1], sums[2] or math.nan
    ends = ends if sums[2] else [math.nan, math.nan]
    if loss.holds == "weight":
        return {"cispo_clip_ratio": high / count}
    means = {"low_mean": low / count, "high_mean": high / count, "region_mean": (low + high) / count}
    return {f"clip_ratio/{key}": value for key, value in {**means, "low_min": -ends[0], "high_max": ends[1]}.items()}


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
