"""Lints of the rows: files that are not there, columns that no row has, a system prompt that a rendered prompt would not get."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.data.registry import SOURCES
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule


def unreadable(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    for place, terms in (("data.sources", recipe.sources), ("evaluate.sets", recipe.sets)):
        for name, term in terms.items():
            try:
                source = SOURCES.build(term.kind, term.options)
            except ValueError as error:
                yield Lint("error", f"{place}.{name}.{term.kind}", str(error), "correct it")
                continue
            for problem in source.check(recipe.folder):
                message, _, fix = problem.partition("; ")
                yield Lint("error", f"{place}.{name}.{term.kind}", message, fix or "correct it")


def rendered_without_system(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    for place, terms in (("data.sources", recipe.sources), ("evaluate.sets", recipe.sets)):
        for name, term in terms.items():
            rendered = term.options.get("chat_template") is not None and term.options.get("system") is None
            if rendered and recipe.data.system:
                yield Lint(
                    "error",
                    f"{place}.{name}.{term.kind}.chat_template",
                    "renders prompts before data.system could be added to them",
                    'say system: in this source too, or system: "" for none',
                )


RULES: tuple[Rule, ...] = (unreadable, rendered_without_system)
