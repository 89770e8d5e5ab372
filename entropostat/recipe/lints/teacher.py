"""Lints of distillation: a teacher without a reader, a reader without one, another tokenizer, and objectives without a loss."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from entropostat.recipe.adapter import AdapterError, local_file, of_model
from entropostat.recipe.blocks import Weights
from entropostat.recipe.facts import needs, rollout_needs, teacher_readers
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.regular import content

LIMIT = 1 << 27
"""Bytes of a tokenizer's file that is looked into."""


def readers(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    found = teacher_readers(recipe)
    if found and not recipe.teacher.stated:
        fix = "give the model that teaches, such as teacher: {path: my-teacher}"
        yield Lint("error", "teacher", f"missing, and objective.{found[0]} compares with it", fix)
    if recipe.teacher.stated and not found:
        fix = "add distill to objective.penalties, or leave it out"
        yield Lint("warning", "teacher", "no term of the objective reads it, so it is not loaded", fix)


def tokenizers(case: Case) -> Iterator[Lint]:
    """As far as both lie on this machine; a run looks again."""
    recipe = case.recipe
    if not recipe.teacher.path or not teacher_readers(recipe):
        return
    ours, theirs = vocabulary(recipe.model), vocabulary(recipe.teacher)
    if ours is not None and theirs is not None and (why := different(ours, theirs)) is not None:
        yield Lint(
            "error",
            "teacher.path",
            f"{recipe.teacher.path} has another tokenizer than the policy: {why}",
            "distillation compares distributions over the same tokens; give a teacher of the policy's family",
        )


def without_loss(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if recipe.objective["loss"].kind != "none":
        return
    key = f"objective.loss.{recipe.objective['loss'].name}"
    if not recipe.objective["penalties"]:
        fix = "add one, such as distill, or choose a loss"
        yield Lint("error", key, "there is no policy loss and no penalty, so nothing is learned", fix)
    if recipe.shaping.active and not recipe.objective["advantages"]:
        message = "changes rewards that nothing reads: there is no policy loss, and there are no advantages"
        yield Lint("error", "shaping", message, "leave it out")
    if recipe.objective["advantages"] and "advantages" not in needs(recipe) | rollout_needs(recipe):
        message = "are computed and train nothing: there is no policy loss"
        yield Lint("note", "objective.advantages", message, "set objective.advantages to []")


def vocabulary(weights: Weights) -> Mapping[str, Any] | None:
    """Token -> id of the tokenizer.json of a model, an adapter's base included; None where there is none to read."""
    if weights.path is None:
        return None
    try:
        adapter = of_model(weights)
        name, revision = (weights.path, weights.revision) if adapter is None else (adapter.base, adapter.revision)
        file = local_file(name, "tokenizer.json", revision)
        said = None if file is None else json.loads(content(file, LIMIT))
        if said is None:
            return None
        tokens = said["model"]["vocab"]
        tokens = tokens if isinstance(tokens, dict) else {token: i for i, (token, *_) in enumerate(tokens)}
        return {**tokens, **{one["content"]: one["id"] for one in said.get("added_tokens") or ()}}
    except (OSError, ValueError, KeyError, TypeError, AdapterError, RecursionError):
        return None  # opening it says what is wrong


def different(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """The first token that the two tokenizers do not share; None where they are the same."""
    if ours == theirs:
        return None
    token = min((t for t in {*ours, *theirs} if ours.get(t) != theirs.get(t)), key=lambda t: (ours.get(t, 1 << 60), t))
    places = [f"is {mine[token]}" if token in mine else "is unknown" for mine in (ours, theirs)]
    return f"token {token!r} {places[0]} in the policy's and {places[1]} in the teacher's"


RULES: tuple[Rule, ...] = (readers, tokenizers, without_loss)
