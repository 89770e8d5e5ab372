"""Lints of rewards for form and for length: where form counts as right, and where a length is never reached."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.facts import info, option, rollout_readers
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.terms import Term
from entropostat.reward.registry import VERIFIERS


def _form(term: Term) -> bool:
    return VERIFIERS.build(term.kind, term.options).formal


def right_by_form(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    form = [term for term in recipe.reward if _form(term)]
    most = sum(max(0.0, option(term, "verifiers", "weight")) for term in form)
    names = " and ".join(term.name for term in form)
    for slot, term in recipe.terms:
        bar = option(term, slot, "success")
        if (
            not most
            or bar is None
            or most <= bar
            or option(term, slot, "right") == "judge"
            or len(form) == len(recipe.reward)
        ):
            continue
        yield Lint(
            "warning",
            f"objective.{slot}.{term.name}.success",
            f"a completion is right where its verifiers give more than {bar:g}, and {names} alone may give {most:g}",
            f"set it to {most:g}, and give what a right answer earns more weight than that",
        )


def judged_by_form(case: Case) -> Iterator[Lint]:
    able = [term for term in case.recipe.reward if term.kind != "model"]
    if able and all(map(_form, able)):
        yield Lint(
            "note",
            f"reward.{able[0].name}",
            "judges form, and nothing else is there: evaluation counts what is well formed as right",
            "add a verifier that reads the answer, with weight: 0 if it is not to count",
        )


def lengths(case: Case) -> Iterator[Lint]:
    recipe, readers = case.recipe, rollout_readers(case.recipe)
    limit = trainer_value(recipe, "max_completion_length")
    for term in recipe.objective["rewards"]:
        if info("rewards", term).field("max_length") is None or "texts" in readers[term.name]:  # of characters
            continue
        key, most = f"objective.rewards.{term.name}", option(term, "rewards", "max_length") or limit
        if most is None:
            message = "is null, and so is trainer.max_completion_length: no completion is the longest"
            yield Lint("error", f"{key}.max_length", message, "give one of them, in tokens")
            continue
        if limit is not None and most > limit:
            message = f"is {most}, and no completion is longer than trainer.max_completion_length, {limit}"
            yield Lint("warning", f"{key}.max_length", message, "leave it out: it is then that of the trainer")
        buffer = option(term, "rewards", "buffer")
        if buffer is not None and buffer >= most:
            message = f"is {buffer}, and max_length {most}: every completion is punished, from its first token on"
            yield Lint("warning", f"{key}.buffer", message, f"make it smaller, such as {max(1, most // 5)}")


RULES: tuple[Rule, ...] = (right_by_form, judged_by_form, lengths)
