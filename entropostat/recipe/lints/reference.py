"""Lints of the reference policy: whether it moves as the recipe says, and not faster than an anchor may."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from entropostat.recipe.arithmetic import stages, trainer_value
from entropostat.recipe.facts import option, reads_reference
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.terms import Term

READ_BY = {"decay": "ema", "every": "reset", "patience": "reset"}
"""Keys of kl_ref, and the kind of reference that reads them."""


def terms(case: Case) -> list[Term]:
    return [term for term in case.recipe.objective["penalties"] if term.kind == "kl_ref"]


def kind(term: Term) -> str:
    return str(option(term, "penalties", "reference"))


def unread(case: Case) -> Iterator[Lint]:
    for term, (key, reader) in itertools.product(terms(case), READ_BY.items()):
        if key in term.options and kind(term) != reader:
            yield Lint(
                "warning",
                f"objective.penalties.{term.name}.{key}",
                f"is read by reference: {reader} only, and the reference is {kind(term)}",
                f"set reference: {reader}, or leave {key} out",
            )


def resets(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    for term in terms(case):
        if kind(term) != "reset":
            continue
        key = f"objective.penalties.{term.name}"
        patience = option(term, "penalties", "patience")
        if not option(term, "penalties", "every") and not patience:
            yield Lint(
                "error",
                f"{key}.reference",
                "reset never happens: neither every nor patience is given",
                "set every, in optimizer steps, or patience, in evaluations",
            )
        if patience and not (recipe.evaluate.every and recipe.evaluate.prompts):
            yield Lint(
                "error",
                f"{key}.patience",
                "counts evaluations, and there are none during training",
                "set evaluate.every and evaluate.prompts, or use every",
            )


def horizon(case: Case) -> Iterator[Lint]:
    """An average that forgets within a phase holds nothing of what the phase before it knew."""
    longest = max(stages(case.recipe, case.sizes), key=lambda stage: stage.end - stage.begin, default=None)
    for term in terms(case):
        if kind(term) != "ema" or longest is None:
            continue
        steps, decay = longest.end - longest.begin, option(term, "penalties", "decay")
        if 1 / (1 - decay) < steps * (1 - 1e-9):  # 1 / (1 - .995) is a little below 200
            yield Lint(
                "warning",
                f"objective.penalties.{term.name}.decay",
                f"{decay:g} looks back {1 / (1 - decay):.4g} steps, and stage {longest.source} lasts {steps}: at its end the "
                f"policy from before it has a weight of {decay:g}^{steps} = {decay**steps:.2g}",
                f"use {1 - 1 / steps:.4g} or more",
            )


def movable(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    moving = next((term for term in terms(case) if kind(term) != "initial"), None)
    if moving is None:
        return
    key = f"objective.penalties.{moving.name}.reference"
    read = ("reference", *(name for name, reader in READ_BY.items() if reader == kind(moving)))
    other = [t for t in terms(case) if any(option(t, "penalties", x) != option(moving, "penalties", x) for x in read)]
    if other:
        yield Lint(
            "error",
            key,
            f"there is one reference, and {other[0].name} moves it otherwise",
            "give both terms the same reference",
        )
    if trainer_value(recipe, "sync_ref_model"):
        yield Lint("error", "trainer.sync_ref_model", f"{key} moves the reference already", "leave it out")
    if recipe.launch.strategy == "fsdp2":
        yield Lint("error", key, "cannot move a reference that FSDP holds", "use ddp or a zero stage, or initial")


def nobodys(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if trainer_value(recipe, "sync_ref_model") and not reads_reference(recipe):
        yield Lint(
            "warning",
            "trainer.sync_ref_model",
            "there is no reference model to update: no term reads one",
            "add kl_ref to objective.penalties",
        )


RULES: tuple[Rule, ...] = (unread, resets, horizon, movable, nobodys)
