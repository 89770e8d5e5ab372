"""Prompts and rewards in verl's terms: rows that `entropostat data --verl` writes in the order of training, and the recipe's verifiers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entropostat.recipe.facts import option
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.terms import Term
from entropostat.verl.carries import Refusal
from entropostat.verl.translated import Left, Said, Set, same

TRAIN, TESTS = "train.parquet", "val.parquet"
COLUMN = "prompt"
REWARD = "reward.custom_reward_function"
HERE = "pkg://entropostat.verl.reward"


def rows_folder(recipe: Recipe) -> Path:
    return recipe.run_dir / "verl"


def prompts(recipe: Recipe, words: str) -> Iterator[Said]:
    """``words``: how the recipe was named."""
    folder = rows_folder(recipe)
    yield same("data.sources", str(folder / TRAIN))
    yield same("evaluate.sets", str(folder / TESTS))
    yield Set("data.prompt_key", COLUMN)
    yield Set("data.shuffle", False)  # they lie in the order of training
    why = "verl reads files with columns of its own"
    yield Left("data.sources", why, f"write them: entropostat data {words} --verl {folder}")
    if recipe.data.system is None:
        fix = "state data.system, the empty text for none"
        yield Left("data.system", "verl asks every prompt in the chat template", fix)
    given = recipe.trainer.get("chat_template_kwargs")
    if isinstance(given, dict):
        yield from (Set(f"+data.apply_chat_template_kwargs.{key}", value) for key, value in given.items())
    elif given is not None:
        yield Left("trainer.chat_template_kwargs", "is JSON text", "write it as a mapping")


def rewards(recipe: Recipe) -> Iterator[Said]:
    """The recipe's own verifiers, called by verl's reward workers one completion at a time."""
    for term in recipe.reward:
        if term.kind == "model":
            fix = "state reward.reward_model.enable=true and reward.reward_model.model_path, without reward.custom_reward_function"
            yield Refusal(f"reward.{term.name}", "a reward model is verl's own", fix)
        elif (form := option(term, "verifiers", "form") or "single") not in ("single", "batch") or term.kind == "trl":
            why = f"is called with more than one completion (form: {form})"
            yield Refusal(f"reward.{term.name}.form", f"{why}, and verl scores one at a time", "take form: single")
        elif term.kind == "function":
            key = f"+{REWARD}.reward_kwargs.allow_code=true"
            yield Left(
                f"reward.{term.name}", "is code of yours, which no worker calls unasked", f"add {key} to allow it"
            )
    yield Set(f"{REWARD}.path", HERE)
    yield Set(f"{REWARD}.name", "score")
    yield Set(f"+{REWARD}.reward_kwargs.verifiers", [_block(term) for term in recipe.reward])


def _block(term: Term) -> dict[str, Any]:
    named = {} if term.name == term.kind else {"name": term.name}
    return {term.kind: {**named, **term.options}}
