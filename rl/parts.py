"""A term under the name that it has in a recipe, and what is the same for those of every slot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from entropostat.rl.batch import Metrics, Stats, TokenBatch
from entropostat.rl.needs import read
from entropostat.rl.reduce import LOCAL
from entropostat.rl.registry import Registry
from entropostat.rl.term import Penalty, Scoped, Term, TokenPenalty, options

T_co = TypeVar("T_co", bound=Term, covariant=True)
T = TypeVar("T", bound=Term)


@dataclass(frozen=True)
class Part(Generic[T_co]):
    """A term and the name it has in this recipe: its metric prefix and its address."""

    name: str
    term: T_co

    @property
    def options(self) -> dict[str, Any]:
        return options(self.term)

    @property
    def needs(self) -> frozenset[str]:
        """Batch fields read in the loss at the options of the term."""
        return read(self.term.info.needs, self.options)

    @property
    def rollout_needs(self) -> frozenset[str]:
        """Likewise, once per generation."""
        return read(self.term.info.rollout_needs, self.options)


def prepared(part: Part[Scoped], batch: TokenBatch, stats: Mapping[str, Stats]) -> TokenBatch:
    """The batch with the statistics that the term's ``prepare`` gives for it, or has given."""
    if part.name in stats:
        return batch.set(stats=stats[part.name])
    when = part.term.prepared
    if when == "never":
        return batch
    if when == "rollout":
        raise ValueError(f"{part.name} has scope: rollout, but nothing called Objective.rollout for this batch")
    seen = batch.detached() if when == "ranks" else batch.detached().set(reducer=LOCAL)
    return batch.set(stats=part.term.prepare(seen))


def parts_of(registry: Registry[T], parts: Iterable[tuple[str, str, Mapping[str, Any]]]) -> tuple[Part[T], ...]:
    return tuple(Part(name, registry.build(kind, options)) for name, kind, options in parts)


def named(part: Part[Term], metrics: Metrics) -> Metrics:
    declared = part.term.info.provides
    for key in metrics:
        if key not in declared:
            raise KeyError(
                f"{part.name} reports {key!r}, which its registration does not declare: add it to `provides`"
            )
    return {f"{part.name}/{key}": value.detach() if value.requires_grad else value for key, value in metrics.items()}


def weighted(part: Part[Penalty]) -> bool:
    """Whether the weights select the tokens of this penalty, too."""
    return isinstance(part.term, TokenPenalty) and part.term.weighted
