"""Lints of the rows: files that are not there, columns that no row has, a system prompt that a rendered prompt would not get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from entropostat.data.registry import SOURCES
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.terms import Term


def unreadable(case: Case) -> Iterator[Lint]:
    for place, term in _named(case.recipe):
        for problem in _problems(term, case.recipe.folder):
            message, _, fix = problem.partition("; ")
            yield Lint("error", f"{place}.{term.name}.{term.kind}", message, fix or "correct it")


def rendered_without_system(case: Case) -> Iterator[Lint]:
    for place, term in _named(case.recipe):
        rendered = term.options.get("chat_template") is not None and term.options.get("system") is None
        if rendered and case.recipe.data.system:
            yield Lint(
                "error",
                f"{place}.{term.name}.{term.kind}.chat_template",
                "renders prompts before data.system could be added to them",
                'say system: in this source too, or system: "" for none',
            )


def _named(recipe: Recipe) -> Iterator[tuple[str, Term]]:
    yield from (("data.sources", term) for term in recipe.sources.values())
    yield from (("evaluate.sets", term) for term in recipe.sets.values())


def _problems(term: Term, folder: Path) -> Iterator[str]:
    try:
        source = SOURCES.build(term.kind, term.options)
    except ValueError as error:  # of a plug-in, whose keys may not fit together
        yield str(error)
        return
    yield from source.check(folder)


RULES: tuple[Rule, ...] = (unreadable, rendered_without_system)
