"""Which verifier judges which source: every name is one of the data, and every prompt has somebody who judges it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from entropostat.recipe.errors import Problem, nearest, show
from entropostat.recipe.explain import at
from entropostat.recipe.facts import option
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.source import Value
from entropostat.recipe.terms import Term


def judges(term: Term, source: str) -> bool:
    named = option(term, "verifiers", "sources")
    return not named or source in named


def weight(term: Term, source: str) -> float:
    """Of a verifier that judges ``source``."""
    own: float = option(term, "verifiers", "weights").get(source, option(term, "verifiers", "weight"))
    return own


def counts(term: Term, trained: Sequence[str]) -> bool:
    """Whether its score changes any reward of the sources that are trained on."""
    return any(judges(term, source) and weight(term, source) != 0 for source in trained)


def reward_parts(recipe: Recipe, term: Term) -> Iterator[str]:
    """Parts of the sum, one for each weight; where it is another on some sources, with their names."""
    trained = [source for source in recipe.sources if judges(term, source)]
    weights = [weight(term, source) for source in trained]
    for factor in dict.fromkeys(weights):
        there = [source for source, own in zip(trained, weights, strict=True) if own == factor]
        where = f" on {', '.join(there)}" if len(there) < len(recipe.sources) else ""
        yield f"{'' if factor == 1 else f'{factor:g} * '}{term.name}{where}"
    if not trained:
        yield f"{term.name} on {', '.join(option(term, 'verifiers', 'sources'))}, measured only"


def check_sources(block: Value, terms: Sequence[Term], trained: Value, sets: Value) -> Iterator[Problem]:
    """``trained`` is ``data.sources`` of the recipe, ``sets`` is ``evaluate.sets``, ``block`` its ``reward``."""
    places = {**_named(sets), **_named(trained)}
    if not isinstance(block.content, list) or len(block.content) != len(terms) or not _named(trained):
        return
    for term, item in zip(terms, block.content, strict=True):
        options = at(item, (term.kind,))
        for index, name in enumerate(term.options.get("sources", [])):
            if name not in places:
                message = f"there is no {show(name)} in data.sources or evaluate.sets; {nearest(name, places)}"
                origin = at(options, ("sources", str(index))).origin
                yield Problem(origin, f"reward.{term.name}.sources.{index}", message)
        for name in term.options.get("weights", {}):
            if (said := _unweighed(term, name, trained, sets)) is not None:
                yield Problem(at(options, ("weights", name)).origin, f"reward.{term.name}.weights.{name}", said)
        if term.options.get("build") is not None and not _preferred(term, terms, trained):
            message = "no other verifier judges its sources, so nothing tells it which completion is better there"
            yield Problem(
                at(options, ("build",)).origin, f"reward.{term.name}.build", f"{message}; add one, with weight: 0"
            )
    for key, value in (("data.sources", trained), ("evaluate.sets", sets)):
        for name, place in _named(value).items():
            if not any(judges(term, name) for term in terms):
                message = f"nothing judges it: each verifier has sources, and {show(name)} is in none; add it to one, such as "
                yield Problem(place.origin, f"{key}.{name}", f"{message}reward.{terms[0].name}.sources")


def _unweighed(term: Term, name: str, trained: Value, sets: Value) -> str | None:
    """Why a source cannot have a weight of its own."""
    if name not in _named(trained):
        if name in _named(sets):
            return "is a set of evaluate.sets, where no reward is summed; leave it out"
        return f"there is no {show(name)} in data.sources; {nearest(name, _named(trained))}"
    if not judges(term, name):
        return f"has no say: {show(name)} is not in reward.{term.name}.sources; add it there, or leave the weight out"
    return None


def _preferred(term: Term, terms: Sequence[Term], trained: Value) -> bool:
    """Whether a model that is built here has a judge on some source of its own; without any it is refused elsewhere."""
    others = [other for other in terms if other.kind != "model"]
    mine = [name for name in _named(trained) if judges(term, name)]
    return not others or any(judges(other, name) for other in others for name in mine)


def _named(value: Value) -> dict[str, Value]:
    return value.content if isinstance(value.content, dict) else {}
