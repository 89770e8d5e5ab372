"""Lints of the ``model`` block: noise that makes the policy which is trained another one than that which sampled."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.foreign_code import foreign
from entropostat.recipe.lint import Lint
from entropostat.recipe.recipe import Recipe

EFFECT = (
    "the ratio is not 1 before the first update, so clips and trust/kl_old read noise, and kl_ref/kl is not 0 for a policy "
    "that has not moved"
)


def lints(recipe: Recipe) -> list[Lint]:
    return [*dropout(recipe), *noise(recipe), *code(recipe)]


def dropout(recipe: Recipe) -> Iterator[Lint]:
    model = recipe.model
    rate = model.peft.lora_dropout if model.peft else 0.0
    if model.dropout == "keep":
        yield Lint(
            "warning", "model.dropout", f"keep makes each forward that of another network: {EFFECT}", "leave it out"
        )
    elif rate > 0:
        yield Lint(
            "warning",
            "model.peft.lora_dropout",
            f"{rate:g} is not read: dropout is off, so that the policy which is trained is the one that sampled",
            "leave it out, or set model.dropout: keep",
        )


def noise(recipe: Recipe) -> Iterator[Lint]:
    if trainer_value(recipe, "neftune_noise_alpha"):
        yield Lint(
            "warning",
            "trainer.neftune_noise_alpha",
            f"adds other noise to the embeddings at each forward: {EFFECT}",
            "leave it out",
        )


def code(recipe: Recipe) -> Iterator[Lint]:
    for found in foreign(recipe):
        yield Lint("note", found.key, found.what, "train with --allow-code")
