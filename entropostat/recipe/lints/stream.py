"""Lints of the stream of prompts: links that need another, that nothing feeds, or that fill what another learns from."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.facts import info, option
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.reward_sources import counts
from entropostat.recipe.terms import Term

KEYLESS = ("function", "model")
"""Verifiers that give no answer keys."""


def _links(case: Case, kind: str) -> list[Term]:
    return [term for term in case.recipe.objective["data"] if term.kind == kind]


def _key(term: Term) -> str:
    return f"objective.data.{term.name}"


def alone(case: Case) -> Iterator[Lint]:
    refills = _links(case, "dynamic_sampling")
    for kind, what in (("dynamic_sampling", "draws further prompts"), ("rsr", "keeps groups")):
        for term in _links(case, kind)[1:]:
            yield Lint("error", _key(term), f"{what}, and another does so before it", "keep one of them")
    for term in _links(case, "rsr")[:1]:
        if not refills:
            message = "keeps groups that others draw too much, and none draws any"
            yield Lint("error", _key(term), message, "add dynamic_sampling: {oversample: 2} to objective.data")
        elif option(refills[0], "data", "oversample") == 1:
            message = (
                f"has nothing to keep: a round draws as many prompts as are missing, {_key(refills[0])}.oversample is 1"
            )
            yield Lint("warning", _key(term), message, "raise it, or leave rsr out")


def with_a_critic(case: Case) -> Iterator[Lint]:
    for term in _links(case, "dynamic_sampling")[:1] if case.recipe.kind == "ppo" else ():
        message = "replaces rows whose values are known, and gae learns from groups of equal rewards too"
        yield Lint("error", _key(term), message, "leave it out, or set trainer.kind: grpo")


def taught_all_the_same(case: Case) -> Iterator[Lint]:
    """Estimators that do not compare within a group."""
    recipe = case.recipe
    learning = [t for t in recipe.objective["advantages"] if not info("advantages", t).compares and t.kind != "gae"]
    for term in _links(case, "dynamic_sampling")[:1] if learning else ():
        message = f"replaces groups of equal rewards, from which objective.advantages.{learning[0].name} learns"
        yield Lint("warning", _key(term), message, "leave one of the two out")


def beside_other_rollouts(case: Case) -> Iterator[Lint]:
    samplers = [term for term in case.recipe.objective["penalties"] if term.kind == "aepo"]
    for term in _links(case, "dynamic_sampling")[:1] if samplers else ():
        key = f"objective.penalties.{samplers[0].name}"
        if option(samplers[0], "penalties", "reference"):
            message = f"replaces rows that {_key(term)} has put together"
            yield Lint("error", f"{key}.reference", message, "set it to false")
        else:
            message = f"samples the prompts as drawn, beside the further rounds of {_key(term)}: both cost generation"
            yield Lint("warning", key, message, "leave one of the two out, or lower aepo's share")


def never_alike(case: Case) -> Iterator[Lint]:
    trained = list(case.recipe.sources)
    scores = [term for term in case.recipe.reward if term.kind == "model" and counts(term, trained)]
    for term in _links(case, "dynamic_sampling")[:1] if scores else ():
        message = f"will replace hardly any group: two scores of reward.{scores[0].name} hardly ever are the same"
        yield Lint(
            "warning", _key(term), message, "raise its tolerance to what counts as no difference, or leave it out"
        )


def band(case: Case) -> Iterator[Lint]:
    for term in _links(case, "difficulty"):
        low, high = (option(term, "data", key) for key in ("low", "high"))
        if not isinstance(low, dict) and not isinstance(high, dict) and low >= high:
            yield Lint("error", f"{_key(term)}.low", f"{low:g} leaves no rate below high ({high:g})", "lower it")


def undiverse(case: Case) -> Iterator[Lint]:
    for term in _links(case, "diversity_weighted"):
        by = option(term, "data", "by")
        if case.sizes.group < 2:
            message = "sees one completion of a prompt, which has no diversity"
            yield Lint("warning", _key(term), message, "raise trainer.num_generations")
        elif by == "answers" and all(reward.kind in KEYLESS for reward in case.recipe.reward):
            message = "answers has nothing to count: no verifier of the recipe gives answer keys"
            yield Lint("warning", f"{_key(term)}.by", message, "use by: rewards, or a verifier such as numeric")


RULES: tuple[Rule, ...] = (
    alone,
    with_a_critic,
    taught_all_the_same,
    beside_other_rollouts,
    never_alike,
    band,
    undiverse,
)
