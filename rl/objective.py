"""Compose the slots of a recipe into one objective.

    L = Norm[ m W S(ratio, A) rho ] + sum of token penalties + sum of scalar penalties

m is the mask, A the output of the advantages chain, W the product of the weights, S the surrogate, rho the sampler
correction (TRL's: where a weight or the loss corrects for the sampler, it is 1). A token penalty that is ``weighted`` is multiplied
by W, too. Every weight and penalty sees A and m, never W A and never another term's selection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from entropostat.rl.batch import Metrics, Stats, TokenBatch
from entropostat.rl.info import State
from entropostat.rl.needs import STATISTICS, TEACHER
from entropostat.rl.parts import Part, named, parts_of, prepared, weighted
from entropostat.rl.registry import ADVANTAGES, DATA, LOSSES, PENALTIES, REWARDS, SCALARS, WEIGHTS
from entropostat.rl.rewarded import Rewarded, compose
from entropostat.rl.stream import Data, Recovery, Refill
from entropostat.rl.term import (
    Advantage,
    BatchTerm,
    Loss,
    Penalty,
    Reward,
    SamplingPenalty,
    Scalar,
    Scoped,
    Term,
    TokenPenalty,
    Weight,
)
from entropostat.rl.vocab_sums import CONSTANT, OUTPUTS, Wanted

Spec = Mapping[str, Any]
"""{'rewards': [(name, kind, options)], 'advantages': [...], 'weights': [...], 'loss': (name, kind, options), 'penalties': [...]}"""


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
    advantages: tuple[Part[Advantage], ...]
    loss: Part[Loss]
    rewards: tuple[Part[Reward], ...] = ()
    weights: tuple[Part[Weight], ...] = ()
    penalties: tuple[Part[Penalty], ...] = ()
    scalars: tuple[Part[Scalar], ...] = ()
    """Numbers of the run, not of the loss: the trainer reads them."""
    data: tuple[Part[Data], ...] = ()
    """Links of the stream of prompts, in their order."""

    @classmethod
    def build(cls, spec: Spec) -> Objective:
        """Make the terms of a normalised recipe block. Options must be plain numbers: see Control for controllers."""
        name, kind, options = spec["loss"]
        objective = cls(
            advantages=parts_of(ADVANTAGES, spec.get("advantages", ())),
            loss=Part(name, LOSSES.build(kind, options)),
            rewards=parts_of(REWARDS, spec.get("rewards", ())),
            weights=parts_of(WEIGHTS, spec.get("weights", ())),
            penalties=parts_of(PENALTIES, spec.get("penalties", ())),
            scalars=parts_of(SCALARS, spec.get("scalars", ())),
            data=parts_of(DATA, spec.get("data", ())),
        )
        names = [part.name for part in objective.parts]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"two terms are named {twice[0]!r}: give one of them its own `name:`")
        if len(samplers := [part.name for part in objective.penalties if isinstance(part.term, SamplingPenalty)]) > 1:
            raise ValueError(f"{samplers[0]} and {samplers[1]} both sample completions of their own: keep one")
        _check_stream(objective)
        return objective

    @property
    def parts(self) -> tuple[Part[Term], ...]:
        return (*self.reading, *self.scalars, *self.data)

    @property
    def reading(self) -> tuple[Part[BatchTerm], ...]:
        """Those that are called with a batch."""
        return (*self.rewards, *self.advantages, *self.weights, self.loss, *self.penalties)

    def scalar(self, kind: str) -> Any:
        """The scalar of that kind, or None where the recipe leaves it to the trainer."""
        return next((part.term for part in self.scalars if part.term.info.name == kind), None)

    @property
    def refill(self) -> Part[Refill] | None:
        """The link that draws further prompts; at most one does."""
        links = ((part.name, part.term) for part in self.data)
        return next((Part(name, term) for name, term in links if isinstance(term, Refill)), None)

    @property
    def recovery(self) -> Part[Recovery] | None:
        """The link that keeps groups for the next generation; at most one does."""
        links = ((part.name, part.term) for part in self.data)
        return next((Part(name, term) for name, term in links if isinstance(term, Recovery)), None)

    @property
    def needs(self) -> frozenset[str]:
        """Batch fields that the loss phase reads."""
        return frozenset().union(*(part.needs for part in self.parts))

    @property
    def rollout_needs(self) -> frozenset[str]:
        """Batch fields that the rollout phase reads."""
        return frozenset().union(*(part.rollout_needs for part in self.parts))

    @property
    def sampler(self) -> Part[SamplingPenalty] | None:
        """The part that asks for completions of its own; at most one does."""
        penalties = ((part.name, part.term) for part in self.penalties)
        return next((Part(name, term) for name, term in penalties if isinstance(term, SamplingPenalty)), None)

    @property
    def sampler_correctors(self) -> tuple[Part[BatchTerm], ...]:
        """The parts that carry the ratio of trainer to sampler at their options."""
        found = (part for part in (*self.weights, self.loss) if part.term.corrects_sampler)
        return tuple(part for part in found if "sampler_logps" in part.needs)

    def vocabulary(self, names: frozenset[str]) -> Wanted | None:
        """What a pass over the vocabulary must give where the batch fields ``names`` are read; None if nothing."""
        if not names & set(STATISTICS):
            return None
        merged = Wanted.merged(wanted for part in self.reading if (wanted := part.term.wanted) is not None)
        return replace(
            merged,
            outputs=tuple(name for name in OUTPUTS if name in names & set(STATISTICS)),
            temperatures=merged.temperatures if "lse" in names else (),
            min_p=merged.min_p if names & {"min_p_mass", *CONSTANT} else None,
            top_p=merged.top_p if "nucleus_entropy" in names else None,
            kept=merged.kept and "min_p_ids" in names,
            soft=merged.soft and "soft_logp" in names,
            comparisons=merged.comparisons if TEACHER in names else (),
        )

    def reward(self, batch: TokenBatch, memory: Mapping[str, State], learn: bool) -> Rewarded:
        """Once per generation and before ``rollout``: from the rewards of the verifiers to those that the advantages see.

        ``memory``: term name -> what it remembers. With ``learn`` this generation is remembered as well.
        """
        return compose(self.rewards, batch, memory, learn)

    def rollout(self, batch: TokenBatch) -> Rollout:
        """Once per generation: the advantages, and the statistics of every term with ``scope: rollout``.

        ``batch.logps`` are the old policy's; ``batch.reducer`` spans all ranks.
        """
        metrics: Metrics = {}
        for part in self.advantages:
            advantages, reported = part.term(batch)
            batch = batch.set(advantages=advantages)
            metrics |= named(part, reported)
        scoped: tuple[Part[Scoped], ...] = (*self.weights, self.loss, *self.penalties)
        stats = {part.name: part.term.prepare(batch) for part in scoped if part.term.prepared == "rollout"}
        return Rollout(batch.require("advantages"), stats, metrics)

    def weight(
        self, batch: TokenBatch, stats: Mapping[str, Stats], each: dict[str, Tensor] | None = None
    ) -> tuple[Tensor | None, Metrics]:
        """(B, T) product of the weights, detached, or None without any. ``each`` takes every term's own, by name."""
        product: Tensor | None = None
        metrics: Metrics = {}
        batch = batch.detached() if self.weights else batch
        for part in self.weights:
            weight, reported = part.term(prepared(part, batch, stats))
            if each is not None:
                each[part.name] = weight
            product = weight.detach() if product is None else product * weight.detach()
            metrics |= named(part, reported)
        return product, metrics

    def correction(self, each: Mapping[str, Tensor], trls: Tensor | None = None) -> Tensor | None:
        """(B, T) rho, the correction for the sampler's log-probs as policy terms carry it: TRL's, or the product of those of
        the weights ``each`` that are one; None without any."""
        for part in self.weights:
            if part.term.corrects_sampler:
                weight = each[part.name].detach()
                trls = weight if trls is None else trls * weight
        return trls

    def for_loss(self, batch: TokenBatch, stats: Mapping[str, Stats]) -> TokenBatch:
        """The batch as the loss reads it: with its own statistics, which its bounds may ask for, too."""
        return prepared(self.loss, batch, stats)

    def surrogate(self, batch: TokenBatch) -> tuple[Tensor, Metrics]:
        """(B, T) per-token policy loss of a term that TRL does not compute, of a batch ``for_loss``."""
        loss, reported = self.loss.term(batch)
        return loss, named(self.loss, reported)

    def penalty(self, part: Part[Penalty], batch: TokenBatch, stats: Mapping[str, Stats]) -> tuple[Tensor, Metrics]:
        """(B, T) for ``kind`` token, a scalar for ``kind`` scalar."""
        value, reported = part.term(prepared(part, batch, stats))
        return value, named(part, reported)

    def token_loss(
        self, batch: TokenBatch, stats: Mapping[str, Stats] | None = None, correction: Tensor | None = None
    ) -> tuple[Tensor, Metrics]:
        """(B, T) W S rho plus the token penalties: the whole objective before aggregation, without a trainer.

        ``correction`` is the sampler's importance weight, where no weight of the objective is one.
        """
        stats = stats or {}
        each: dict[str, Tensor] = {}
        total, metrics = self.surrogate(self.for_loss(batch, stats))
        weight, reported = self.weight(batch, stats, each)
        total = total if weight is None else total * weight
        total = total if correction is None else total * correction
        rho = self.correction(each, correction)
        metrics |= reported
        for part in self.penalties:
            if isinstance(part.term, TokenPenalty):
                value, reported = self.penalty(part, batch, stats)
                value = value if weight is None or not weighted(part) else value * weight
                total = total + (value * rho if part.term.policy_term and rho is not None else value)
                metrics |= reported
        return total, metrics


def _check_stream(objective: Objective) -> None:
    for kind, what in ((Refill, "draw further prompts"), (Recovery, "keep groups for the next generation")):
        names = [part.name for part in objective.data if isinstance(part.term, kind)]
        if len(names) > 1:
            raise ValueError(f"{names[0]} and {names[1]} both {what}: keep one")
    if (recovery := objective.recovery) is not None and objective.refill is None:
        raise ValueError(f"{recovery.name} keeps groups that others draw too much: add dynamic_sampling to data")


def normalise_terms(parts: Sequence[Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """['grpo', {'kl_ref': {'name': 'a', 'coef': 1}}] -> [('grpo', 'grpo', {}), ('a', 'kl_ref', {'coef': 1})]."""
    result = []
    for part in parts:
        kind, options = (part, {}) if isinstance(part, str) else next(iter(part.items()))
        options = dict(options or {})
        result.append((options.pop("name", kind), kind, options))
    return result
