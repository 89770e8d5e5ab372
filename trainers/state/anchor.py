"""The reference policy that moves: the trainer's side of ``kl_ref.reference``.

TRL scores ``ref_model``, or, where the policy is an adapter, its adapter 'ref': both are updated in place, after each
applied optimizer step or at a reset, and act from the next generation on. An average of weights below float32 is kept in
float32 beside the model, whose own precision would round small steps to nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from entropostat.rl.control import Control
from entropostat.rl.penalties.kl_ref import KLRef, movement
from entropostat.rl.reduce import Reducer
from entropostat.trainers.model.adapter import REFERENCE
from entropostat.trainers.model.distribution import Distribution
from entropostat.trainers.model.shards import cut, refresh, share, whole
from entropostat.trainers.state.memory import Remembering

log = logging.getLogger(__name__)

FILE = "anchor.safetensors"


def rule(control: Control) -> KLRef | None:
    """The term that says how the reference moves, or None if no term does. Raises ValueError for two of them."""
    terms = {part.name: part.term for part in control.template.penalties if isinstance(part.term, KLRef)}
    if len({movement(term) for term in terms.values()}) > 1:
        raise ValueError(
            f"objective.penalties: {' and '.join(terms)} move the reference differently, and there is one reference; "
            "give them the same `reference`"
        )
    term = next(iter(terms.values()), None)
    return term if term is not None and term.moves_reference else None


def attach_anchor(trainer: Any, control: Control, reducer: Reducer, distribution: Distribution) -> AnchorCallback:
    """Raises ValueError where the reference cannot move, or would be moved twice."""
    term = rule(control)
    if term is not None:
        name = f"objective.penalties.kl_ref.reference: {term.reference}"
        if trainer.args.sync_ref_model:
            raise ValueError(f"{name} and sync_ref_model: true both move the reference; set sync_ref_model to false")
        if trainer.is_fsdp_enabled:
            raise ValueError(f"{name} cannot move a reference that FSDP holds; use ddp or a zero stage, or `initial`")
    anchor = AnchorCallback(trainer, term, reducer, distribution)
    trainer.add_callback(anchor)
    return anchor


def score(logs: Mapping[str, Any]) -> float | None:
    """What ``patience`` watches: mean held-out pass@1, else the mean reward of TRL's own evaluation."""
    values = [value for key, value in logs.items() if key.startswith("evaluate/") and key.endswith("/pass@1")]
    values = values or [value for key, value in logs.items() if key == "eval_reward"]
    mean = sum(values) / len(values) if values else math.nan
    return mean if math.isfinite(mean) else None


class AnchorCallback(Remembering):
    """Moves the reference, and keeps it and its counters in the checkpoint. Without a ``term`` it only says so there."""

    def __init__(self, trainer: Any, term: KLRef | None, reducer: Reducer, distribution: Distribution) -> None:
        self.trainer, self.term, self.reducer, self.distribution = trainer, term, reducer, distribution
        self.initial_share, self.resets, self.age, self.stale = 1.0, 0, 0, 0
        self.best: float | None = None
        self._averages: dict[str, Tensor] = {}
        if term is not None and trainer.ref_model is None:
            self._add_reference_adapter()
        self._match_precision()

    @property
    def moves(self) -> bool:
        return self.term is not None

    def _add_reference_adapter(self) -> None:
        """A copy of the policy's adapter under the name that TRL scores; made by TRL itself for a trained adapter."""
        model, device = self.trainer.model, self.trainer.accelerator.device
        if REFERENCE in model.peft_config:
            return
        # A new adapter is drawn at random: without the fork, rollouts would be others than with `initial`.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            model.add_adapter(REFERENCE, model.peft_config[model.active_adapter])
        self.distribution.turn_dropout_off(self.trainer)  # which the new adapter has anew
        for _, policy, reference in self.pairs():
            reference.data.copy_(policy.data)

    def _match_precision(self) -> None:
        """A second adapter is made in float32 whatever the first one has: then the two would differ by its rounding."""
        if REFERENCE in getattr(self.trainer.model, "peft_config", {}):
            for _, policy, reference in self.pairs():
                reference.data = reference.data.to(policy.dtype)

    def pairs(self) -> list[tuple[str, Any, Any]]:
        """(name, parameter of the policy, parameter of the reference), as often as the policy has trainable ones."""
        unwrap = self.trainer.accelerator.unwrap_model
        policy = unwrap(self.trainer.model)
        if is_peft_model(policy):
            part = f".{policy.active_adapter}."
            own = {name: p for name, p in policy.named_parameters() if part in name}
            return [(name, p, policy.get_parameter(name.replace(part, f".{REFERENCE}."))) for name, p in own.items()]
        reference = dict(unwrap(self.trainer.ref_model).named_parameters())
        # A critic has no reference.
        return [(name, p, reference[name]) for name, p in policy.named_parameters() if name in reference]

    # ------------------------------------------------------------------------------------------ movement

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.term is None:
            return
        if not self.trainer.accelerator.optimizer_step_was_skipped:
            self.age += 1
            if self.term.reference == "ema":
                self.average(self.term.decay)
            elif self.age == self.term.every:
                self.reset()
        ema = self.term.reference == "ema"
        key, value = ("anchor/initial_share", self.initial_share) if ema else ("anchor/resets", float(self.resets))
        self.trainer._metrics["train"][key].append(value)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Every evaluation passes here, on all ranks with the same numbers."""
        if self.term is None or not self.term.patience or (reached := score(logs or {})) is None:
            return
        if self.best is None or reached > self.best:
            self.best, self.stale = reached, 0
            return
        self.stale += 1
        if self.stale >= self.term.patience:
            self.reset()

    @torch.no_grad()
    def average(self, decay: float) -> None:
        """One step of the exponential moving average."""
        for name, policy, reference in self.pairs():
            target = share(reference)
            mean = self._average(name, target)
            mean.lerp_(share(policy).to(mean), 1 - decay)
            if mean is not target:
                target.copy_(mean)
            refresh(reference)
        self.initial_share *= decay

    def _average(self, name: str, target: Tensor) -> Tensor:
        """The reference itself, or a float32 copy that is kept, where it has less precision."""
        if torch.finfo(target.dtype).eps <= torch.finfo(torch.float32).eps:
            return target
        if name not in self._averages:
            self._averages[name] = target.float()
        return self._averages[name]

    @torch.no_grad()
    def reset(self) -> None:
        """The reference becomes the policy as it is."""
        for _, policy, reference in self.pairs():
            share(reference).copy_(share(policy))
            refresh(reference)
        self.resets, self.age, self.stale = self.resets + 1, 0, 0

    # ------------------------------------------------------------------------------------------ checkpoints

    @property
    def kind(self) -> str:
        return self.term.reference if self.term else "initial"

    def kept(self) -> dict[str, Any]:
        names = ("initial_share", "resets", "age", "stale", "best")
        return {"reference": self.kind, **{name: getattr(self, name) for name in names}}

    def save(self, folder: Path) -> None:
        """Into the checkpoint ``folder``: gathered on all ranks, written by the main one."""
        if self.term is None:
            return
        main, tensors = self.trainer.accelerator.is_main_process, {}
        for name, _, reference in self.pairs():
            tensor = whole(reference, self._averages.get(name, share(reference)), self.reducer)
            if main:
                tensors[name] = tensor.detach().cpu().contiguous().clone()
        if main:
            save_file(tensors, folder / FILE)

    @torch.no_grad()
    def restore(self, kept: dict[str, Any], checkpoint: Path | None) -> None:
        """Continue from a checkpoint. One of another kind of reference says nothing of this run's."""
        if checkpoint is None:
            return
        before, now = kept.get("reference", "initial"), self.kind
        if before != now:
            log.warning(
                f"this checkpoint was saved with kl_ref.reference: {before}, and this run has {now}: its reference "
                "starts from the initial policy"
            )
            return
        if self.term is None:
            return
        tensors = load_file(checkpoint / FILE)
        for name, _, reference in self.pairs():
            part = cut(reference, tensors[name], self.trainer.accelerator.process_index)
            target = share(reference)
            mean = self._average(name, target) if self.term.reference == "ema" else target
            mean.copy_(part)
            if mean is not target:
                target.copy_(mean)
            refresh(reference)
        for key, value in kept.items():
            if key != "reference":
                setattr(self, key, value)
