"""Lints of the ``model`` block: its base, its precision, and noise that makes the policy which is trained another one than that
which sampled."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.adapter import AdapterError, lora, of_model
from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.foreign_code import foreign
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule

EFFECT = (
    "the ratio is not 1 before the first update, so clips and trust/kl_old read noise, and kl_ref/kl is not 0 for a policy "
    "that has not moved"
)


def base_of_adapter(case: Case) -> Iterator[Lint]:
    adapter = of_model(case.recipe.model)
    try:
        _ = adapter and adapter.base
    except AdapterError as error:
        what, _, fix = str(error).rpartition("; ")
        yield Lint("error", "model.path", what, fix)


def dropout(case: Case) -> Iterator[Lint]:
    model = case.recipe.model
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


def noise(case: Case) -> Iterator[Lint]:
    if trainer_value(case.recipe, "neftune_noise_alpha"):
        yield Lint(
            "warning",
            "trainer.neftune_noise_alpha",
            f"adds other noise to the embeddings at each forward: {EFFECT}",
            "leave it out",
        )


def half_weights(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    halves, sharded = recipe.model.dtype in ("bfloat16", "float16"), "zero" in recipe.launch.strategy
    if halves and not sharded and lora(recipe.model) is None:
        yield Lint(
            "warning",
            "model.dtype",
            f"master weights in {recipe.model.dtype} round small updates away",
            "use float32 with trainer.bf16: true, LoRA, or a zero strategy",
        )


def code(case: Case) -> Iterator[Lint]:
    for foreign_code in foreign(case.recipe):
        yield Lint("note", foreign_code.key, foreign_code.what, "train with --allow-code")


RULES: tuple[Rule, ...] = (base_of_adapter, dropout, noise, half_weights, code)
