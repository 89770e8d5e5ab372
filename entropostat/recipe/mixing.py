"""Which rows are trained on, and in which proportions: what is wrong with it beyond types and ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from entropostat.data.curriculum import named
from entropostat.data.where import faults
from entropostat.recipe.data_block import LARGEST_SHARE, Data
from entropostat.recipe.errors import Problem, nearest, show
from entropostat.recipe.explain import Path, at
from entropostat.recipe.source import Value
from entropostat.recipe.terms import Term


def mixture_problems(block: Value, data: Data) -> Iterator[Problem]:
    """Of ``data.weights`` and of the stages."""
    for index, stage in enumerate(data.curriculum or []):
        path = ("curriculum", str(index), "source")
        if not stage.source:
            yield Problem(at(block, path).origin, ".".join(("data", *path)), "is empty; name at least one source")
        for name in named(stage.source):
            if name not in data.sources:
                below = path if isinstance(stage.source, str) else (*path, name)
                yield _unknown(block, below, name, data)
        if not isinstance(stage.source, str):
            yield from _out_of_range(block, path, stage.source)
    if data.weights is None:
        return
    unknown = [name for name in data.weights if name not in data.sources]
    yield from (_unknown(block, ("weights", name), name, data) for name in unknown)
    yield from _out_of_range(block, ("weights",), data.weights)
    left = [name for name in data.sources if name not in data.weights]
    origin = at(block, ("weights",)).origin
    if data.curriculum is not None:
        message = (
            "is not read, because data.curriculum says what is trained on; give a stage such as source: {a: 2, b: 1}"
        )
        yield Problem(origin, "data.weights", message)
    elif left and not unknown:
        yield Problem(origin, "data.weights", f"says nothing of {', '.join(left)}; give each source a share above 0")


def _out_of_range(block: Value, path: Path, shares: Mapping[str, float]) -> Iterator[Problem]:
    for name, share in shares.items():
        if not 0 < share <= LARGEST_SHARE:
            below = (*path, name)
            message = f"must be above 0 and at most {LARGEST_SHARE}, not {show(share)}; a source that is not to be drawn is left out"
            yield Problem(at(block, below).origin, ".".join(("data", *below)), message)


def _unknown(block: Value, path: Path, name: str, data: Data) -> Problem:
    message = f"there is no source {show(name)} in data.sources; {nearest(name, data.sources)}"
    return Problem(at(block, path).origin, ".".join(("data", *path)), message)


def where_problems(item: Value, term: Term, path: Path) -> Iterator[Problem]:
    """Of the conditions on the columns of a source, which is ``item`` in the recipe."""
    if "where" in term.options:
        for below, message in faults(term.options["where"]):
            place = ("where", *below)
            yield Problem(at(item, (term.kind, *place)).origin, ".".join((*path, term.kind, *place)), message)
