"""Compose the slots of a recipe into one objective.

    L = Norm[ m W S(ratio, A) rho ] + sum of token penalties + sum of scalar penalties

m is the mask, A the output of the advantages chain, W the product of the weights, S the surrogate, rho the sampler
correction. Every weight and penalty sees A and m, never W A and never another term's selection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.batch import Metrics, Stats, TokenBatch
from entropostat.rl.needs import STATISTICS, read
from entropostat.rl.reduce import LOCAL
from entropostat.rl.registry import ADVANTAGES, LOSSES, PENALTIES, SCALARS, WEIGHTS, Registry
from entropostat.rl.vocab_sums import CONSTANT, OUTPUTS, Wanted

Spec = Mapping[str, Any]
"""{'advantages': [(name, kind, options)], 'weights': [...], 'loss': (name, kind, options), 'penalties': [...]}"""


@dataclass(frozen=True)
class Part:
    """A term and the name it has in this recipe: its metric prefix and its address."""

    name: str
    term: Any

    @property
    def scope(self) -> str:
        """When ``prepare`` runs: where the term's ``scope`` says, unless its ``prepared`` says otherwise, or ``never``."""
        return getattr(self.term, "prepared", getattr(self.term, "scope", "micro"))

    @property
    def needs(self) -> frozenset[str]:
        """Batch fields read in the loss at the options of the term."""
        return read(self.term.info.needs, self._options)

    @property
    def rollout_needs(self) -> frozenset[str]:
        """Likewise, once per generation."""
        return read(self.term.info.rollout_needs, self._options)

    @property
    def _options(self) -> dict[str, Any]:
        return {f.name: getattr(self.term, f.name) for f in fields(self.term)}


@dataclass(frozen=True)
class Rollout:
    """What the objective computes once per generation."""

    advantages: Tensor
    """(N,) or (N, T), this rank's."""
    stats: dict[str, Stats] = field(default_factory=dict)
    """Term name -> statistics of the terms with ``scope: rollout``."""
    metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    advantages: tuple[Part, ...]
    loss: Part
    weights: tuple[Part, ...] = ()
    penalties: tuple[Part, ...] = ()
    scalars: tuple[Part, ...] = ()
    """Numbers of the run, not of the loss: the trainer reads them."""

    @classmethod
    def build(cls, spec: Spec) -> Objective:
        """Make the terms of a normalised recipe block. Options must be plain numbers: see Control for controllers."""
        name, kind, options = spec["loss"]
        objective = cls(
            advantages=_parts(ADVANTAGES, spec.get("advantages", ())),
            loss=Part(name, LOSSES.build(kind, options)),
            weights=_parts(WEIGHTS, spec.get("weights", ())),
            penalties=_parts(PENALTIES, spec.get("penalties", ())),
            scalars=_parts(SCALARS, spec.get("scalars", ())),
        )
        names = [part.name for part in objective.parts]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"two terms are named {twice[0]!r}: give one of them its own `name:`")
        if len(samplers := [part.name for part in objective.penalties if hasattr(part.term, "request")]) > 1:
            raise ValueError(f"{samplers[0]} and {samplers[1]} both sample completions of their own: keep one")
        return objective

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.advantages, *self.weights, self.loss, *self.penalties, *self.scalars)

    def scalar(self, kind: str) -> Any:
        """The scalar of that kind, or None where the recipe leaves it to the trainer."""
        return next((part.term for part in self.scalars if part.term.info.name == kind), None)

    @property
    def needs(self) -> frozenset[str]:
        """Batch fields that the loss phase reads."""
        return frozenset().union(*(part.needs for part in self.parts))

    @property
    def rollout_needs(self) -> frozenset[str]:
        """Batch fields that the rollout phase reads."""
        return frozenset().union(*(part.rollout_needs for part in self.parts))

    @property
    def sampler(self) -> Part | None:
        """The part that asks for completions of its own, by ``request`` and ``select``; at most one does."""
        return next((part for part in self.penalties if hasattr(part.term, "request")), None)

    def vocabulary(self, names: frozenset[str]) -> Wanted | None:
        """What a pass over the vocabulary must give where the batch fields ``names`` are read; None if nothing."""
        if not names & set(STATISTICS):
            return None
        asked = [wanted for part in self.parts if (wanted := getattr(part.term, "wanted", None)) is not None]
        merged = Wanted.merged(asked)
        return replace(
            merged,
            outputs=tuple(name for name in OUTPUTS if name in names & set(STATISTICS)),
            temperatures=merged.temperatures if "lse" in names else (),
            min_p=merged.min_p if names & {"min_p_mass", *CONSTANT} else None,
            top_p=merged.top_p if "nucleus_entropy" in names else None,
            kept=merged.kept and "min_p_ids" in names,
            soft=merged.soft and "soft_logp" in names,
        )

    def rollout(self, batch: TokenBatch) -> Rollout:
        """Once per generation: the advantages, and the statistics of every term with ``scope: rollout``.

        ``batch.logps`` are the old policy's; ``batch.reducer`` spans all ranks.
        """
        metrics: Metrics = {}
        for part in self.advantages:
            advantages, found = part.term(batch)
            batch = batch.set(advantages=advantages)
            metrics |= _named(part, found)
        stats = {
            part.name: part.term.prepare(batch) for part in self.weights + self.penalties if self._at_rollout(part)
        }
        return Rollout(batch.require("advantages"), stats, metrics)

    def weight(
        self, batch: TokenBatch, stats: Mapping[str, Stats], each: dict[str, Tensor] | None = None
    ) -> tuple[Tensor | None, Metrics]:
        """(B, T) product of the weights, detached, or None without any. ``each`` takes every term's own, by name."""
        product: Tensor | None = None
        metrics: Metrics = {}
        batch = batch.detached() if self.weights else batch
        for part in self.weights:
            weight, found = part.term(self._prepared(part, batch, stats))
            if each is not None:
                each[part.name] = weight
            product = weight.detach() if product is None else product * weight.detach()
            metrics |= _named(part, found)
        return product, metrics

    def surrogate(self, batch: TokenBatch) -> tuple[Tensor, Metrics]:
        """(B, T) per-token policy loss of a term that TRL does not compute."""
        loss, found = self.loss.term(batch)
        return loss, _named(self.loss, found)

    def penalty(self, part: Part, batch: TokenBatch, stats: Mapping[str, Stats]) -> tuple[Tensor, Metrics]:
        """(B, T) for ``kind`` token, a scalar for ``kind`` scalar."""
        value, found = part.term(self._prepared(part, batch, stats))
        return value, _named(part, found)

    def token_loss(
        self, batch: TokenBatch, stats: Mapping[str, Stats] | None = None, correction: Tensor | None = None
    ) -> tuple[Tensor, Metrics]:
        """(B, T) W S rho plus the token penalties: the whole objective before aggregation, without a trainer.

        ``correction`` is rho, the sampler's importance weight.
        """
        stats = stats or {}
        rho = torch.ones_like(batch.logps) if correction is None else correction
        total, metrics = self.surrogate(batch)
        weight, found = self.weight(batch, stats)
        total = (total if weight is None else total * weight) * rho
        metrics |= found
        for part in self.penalties:
            if part.term.kind == "token":
                value, found = self.penalty(part, batch, stats)
                total = total + (value * rho if part.term.policy_term else value)
                metrics |= found
        return total, metrics

    def _at_rollout(self, part: Part) -> bool:
        return part.scope == "rollout" and hasattr(part.term, "prepare")

    def _prepared(self, part: Part, batch: TokenBatch, stats: Mapping[str, Stats]) -> TokenBatch:
        if part.name in stats:
            return batch.set(stats=stats[part.name])
        if not hasattr(part.term, "prepare") or part.scope == "never":
            return batch
        if self._at_rollout(part):
            raise ValueError(f"{part.name} has scope: rollout, but nothing called Objective.rollout for this batch")
        seen = batch.detached() if part.scope == "ranks" else batch.detached().set(reducer=LOCAL)
        return batch.set(stats=part.term.prepare(seen))


def _parts(registry: Registry, parts: Iterable[tuple[str, str, Mapping[str, Any]]]) -> tuple[Part, ...]:
    return tuple(Part(name, registry.build(kind, options)) for name, kind, options in parts)


def _named(part: Part, metrics: Metrics) -> Metrics:
    declared = part.term.info.provides
    for key in metrics:
        if key not in declared:
            raise KeyError(
                f"{part.name} reports {key!r}, which its registration does not declare: add it to `provides`"
            )
    return {f"{part.name}/{key}": value.detach() if value.requires_grad else value for key, value in metrics.items()}


def normalise_terms(parts: Sequence[Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """['grpo', {'kl_ref': {'name': 'a', 'coef': 1}}] -> [('grpo', 'grpo', {}), ('a', 'kl_ref', {'coef': 1})]."""
    result = []
    for part in parts:
        kind, options = (part, {}) if isinstance(part, str) else next(iter(part.items()))
        options = dict(options or {})
        result.append((options.pop("name", kind), kind, options))
    return result
