"""What ``entropostat plan --engine verl`` says: the command that starts the run in verl, and what of the recipe does not go along."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from entropostat.recipe import Recipe
from entropostat.verl.command_line import CommandLine, command_line


def plan(recipe: Recipe, words: Sequence[str]) -> dict[str, Any]:
    """As plain data. ``words``: the recipe's path and what the command line changes of it."""
    found = command_line(recipe, words)
    return {
        "batch": batch(found),
        "refused": [problem._asdict() for problem in found.refused],
        "left": [left._asdict() for left in found.left],
        "overrides": None if found.refused else found.overrides,
        "command": None if found.refused else found.text,
    }


def batch(found: CommandLine) -> dict[str, Any] | None:
    if found.batches is None:
        return None
    updates = found.batches.updates
    return {
        **dataclasses.asdict(found.batches),
        "updates": updates.numerator if updates.denominator == 1 else str(updates),
    }


def text(planned: dict[str, Any]) -> list[str]:
    """Of the whole plan, for people."""
    return [*_text(planned["verl"]), *_errors(planned["lints"])]


def _text(verl: dict[str, Any]) -> Iterator[str]:
    yield from verl["command"] or ()
    if (cut := verl["batch"]) and not verl["refused"]:
        yield ""
        yield (
            f"generation  {cut['prompts']} prompts x {cut['group']}, used for {cut['updates']} update(s) of {cut['mini']} prompts"
        )
    for title, entries in (("not said by this", verl["left"]), ("refused", verl["refused"])):
        if entries:
            yield from ("", title) if verl["command"] or title == "refused" else (title,)
            yield from (f"  {each['key']}: {each['why']}; {each['fix']}" for each in entries)


def _errors(lints: Sequence[dict[str, Any]]) -> Iterator[str]:
    wrong = [lint for lint in lints if lint["level"] == "error"]
    if wrong:
        yield ""
    yield from (f"error: {lint['key']}: {lint['message']}; {lint['fix']}" for lint in wrong)
