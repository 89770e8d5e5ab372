"""Which batch fields a term reads, as data: always, or where its options have certain values.

    needs=("old_logps", when(omega="full").unless(scope="rollout").needs("sum_p2", "sum_p2_logp"))

The trainer asks with the options of a live term, ``plan`` with those of a recipe, and ``read`` answers both. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TEACHER = "to_teacher"
"""The batch field that needs a teacher."""

STATISTICS = (
    *("sum_p2", "sum_p2_logp", "max_logp", "logit", "lse", "min_p_mass", "nucleus_entropy"),
    *("min_p_logp", "min_p_ids", "min_p_probs", "soft_logp", TEACHER),
)
"""Batch fields that only a pass over the vocabulary gives."""

SCORED = frozenset({"old_logps", "sampler_logps", "old_entropy", "old_values", *STATISTICS})
"""Those of the rollout phase that take a forward pass over the generation, but for what another engine has sampled, whose
log-probs are at hand."""


@dataclass(frozen=True)
class Condition:
    """On one option. The value is one that no controller reaches: a choice, a switch, or null."""

    option: str
    value: str | bool | None
    equal: bool = True
    """False: the option has any other value."""

    def holds(self, options: Mapping[str, Any]) -> bool:
        return (options[self.option] == self.value) is self.equal

    def __str__(self) -> str:
        value = "null" if self.value is None else str(self.value).lower()
        return f"{self.option}{':' if self.equal else ' not'} {value}"


@dataclass(frozen=True)
class Need:
    """Batch fields that are read where all conditions hold."""

    fields: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        where = f" ({', '.join(map(str, self.conditions))})" if self.conditions else ""
        return ", ".join(self.fields) + where


@dataclass(frozen=True)
class When:
    """Conditions in the making; ``needs`` ends it."""

    conditions: tuple[Condition, ...] = ()

    def when(self, **options: Any) -> When:
        return self._and(options, equal=True)

    def unless(self, **options: Any) -> When:
        return self._and(options, equal=False)

    def needs(self, *fields: str) -> Need:
        return Need(fields, self.conditions)

    def _and(self, options: Mapping[str, Any], equal: bool) -> When:
        return When((*self.conditions, *(Condition(name, value, equal) for name, value in options.items())))


def when(**options: Any) -> When:
    """Where every option has the value that is named."""
    return When().when(**options)


def unless(**options: Any) -> When:
    """Where no option has the value that is named."""
    return When().unless(**options)


def declared(needs: Iterable[str | Need]) -> tuple[Need, ...]:
    """Plain names together as one need without conditions, then the conditional ones."""
    needs = list(needs)
    always = tuple(sorted(need for need in needs if isinstance(need, str)))
    return (*([Need(always)] if always else []), *(need for need in needs if isinstance(need, Need)))


def read(needs: Iterable[Need], options: Mapping[str, Any]) -> frozenset[str]:
    """The fields that a term with these options reads. ``options`` holds every one of them, defaults included."""
    return frozenset(name for need in needs if all(c.holds(options) for c in need.conditions) for name in need.fields)
