"""Several findings that are one story: what came first, and what followed from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from entropostat.diagnose.finding import Finding

LATER = (
    "reward-lost",
    "dead-groups",
    "truncation",
    "constant-reward",
    "reward-gap",
    "length-hacking",
    "nothing-trained",
)
WILD = ("kl-blow-up", "gradient-blow-up", "wrong-tokens", "controller-saturated", "entropy-blip")

FOLLOWS: Mapping[str, frozenset[str]] = {
    "non-finite": frozenset((*LATER, *WILD, "explosion", "collapse")),
    "sampler-mismatch": frozenset((*LATER, *WILD, "explosion", "collapse")),
    "explosion": frozenset((*LATER, *WILD)),
    "collapse": frozenset((*LATER, *WILD)),
    "gradient-blow-up": frozenset((*LATER, "kl-blow-up")),
    "kl-blow-up": frozenset(LATER),
    "reward-lost": frozenset(("dead-groups", "truncation", "constant-reward", "nothing-trained", "length-hacking")),
    "truncation": frozenset(("dead-groups", "nothing-trained", "length-hacking")),
    "dead-groups": frozenset(("inert-term",)),
    "reward-missing": frozenset(("constant-reward", "dead-groups", "inert-term")),
    "verifier-failing": frozenset(("reward-missing", "constant-reward", "dead-groups", "reward-lost")),
}
"""Cause -> what comes of it. In the order in which a cause is looked for."""
ORDER = ("critical", "warning", "info")
SLACK = 0.25
"""A cause may be seen later than what follows from it, by this share of the run: its rule waits longer."""


@dataclass(frozen=True)
class Story:
    """The first cause, and what followed, by the step at which each was first seen."""

    cause: Finding
    after: tuple[Finding, ...]


def stories(findings: Sequence[Finding]) -> list[Story]:
    """Every finding in exactly one story, the worst first."""
    end = max((one.steps[1] for one in findings), default=0)
    ranks = {rule: place for place, rule in enumerate(FOLLOWS)}
    left = sorted(findings, key=lambda one: (ranks.get(one.rule, len(ranks)), one.steps))
    told: list[Story] = []
    while left:
        cause, *others = left
        comes = FOLLOWS.get(cause.rule, frozenset())
        after = [one for one in others if one.rule in comes and cause.steps[0] <= one.steps[0] + SLACK * end]
        left = [one for one in others if one not in after]
        told.append(Story(cause, tuple(sorted(after, key=lambda one: one.steps))))
    return sorted(told, key=lambda story: (ORDER.index(story.cause.severity), story.cause.steps, story.cause.rule))


def first_cause(findings: Iterable[Finding]) -> Finding | None:
    """Of the worst story."""
    told = stories(list(findings))
    return told[0].cause if told else None
