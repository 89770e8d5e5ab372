"""The ``reward:`` list of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entropostat.recipe.blocks import BuildReward
from entropostat.recipe.errors import Problem
from entropostat.recipe.explain import at, validate
from entropostat.recipe.source import Value
from entropostat.recipe.terms import Term, term_list
from entropostat.reward.registry import VERIFIERS


def rewarded(objective: Mapping[str, Any]) -> bool:
    """Whether anything of an objective reads rewards: without a policy loss and without advantages nothing does."""
    return objective["loss"].kind != "none" or bool(objective["advantages"])


def check_reward(block: Value, problems: list[Problem], needed: bool = True) -> list[Term]:
    """The verifiers in their order; what is wrong with them goes into ``problems``. Not ``needed``: there may be none."""
    if not block.content and not needed:
        return []
    if not block.content:
        message = "missing; give at least one verifier, such as '- exact_match: {}'"
        problems.append(Problem(block.origin, "reward", message))
        return []
    terms = term_list(block, "verifiers", ("reward",), problems)
    if not isinstance(block.content, list) or len(terms) < len(block.content):
        return terms
    for term, item in zip(terms, block.content, strict=True):
        assert isinstance(item.content, dict)
        given = item.content[term.kind]
        path = ("reward", term.name)
        if term.options.get("build") is not None:
            validate(BuildReward, at(given, ("build",)), (*path, "build"), problems)
        try:
            VERIFIERS.build(term.kind, term.options)  # conditions between its keys are its own
        except ValueError as error:
            problems.append(Problem(given.origin, ".".join(path), str(error)))
        if term.options.get("build") is not None and all(other.kind == "model" for other in terms):
            message = "nothing tells it which completion is better; add a verifier, such as '- chain: {weight: 0}'"
            problems.append(Problem(given.origin, ".".join((*path, "build")), message))
    return terms
