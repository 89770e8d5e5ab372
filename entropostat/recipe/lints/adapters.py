"""Lints of ``model.peft`` and ``model.load_in_4bit``: what an adapter cannot be put on, and what cannot lie below it."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.adapter import MATRICES, lora
from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule

HEAD = "lm_head"
QUANTISED = {name for names in MATRICES.values() for name in names}


def head(case: Case) -> Iterator[Lint]:
    peft = case.recipe.model.peft
    if peft is not None and isinstance(peft.target_modules, list) and HEAD in peft.target_modules:
        yield Lint(
            "error",
            "model.peft.target_modules",
            "an adapter on lm_head would not be trained: log-probs are computed from its weight",
            "take lm_head out, or train it whole by model.peft.modules_to_save",
        )


def two_ways(case: Case) -> Iterator[Lint]:
    peft = case.recipe.model.peft
    if peft is None or isinstance(peft.target_modules, str):
        return
    if both := sorted(set(peft.target_modules) & set(peft.modules_to_save or ())):
        yield Lint(
            "error",
            "model.peft.modules_to_save",
            f"{', '.join(both)} would be trained whole and get an adapter",
            "name it in one of modules_to_save and target_modules",
        )


def four_bits(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    model, strategy, key = recipe.model, recipe.launch.strategy, "model.load_in_4bit"
    if not model.load_in_4bit:
        return
    if lora(model) is None:
        yield Lint("error", key, "weights of 4 bits are not trained themselves", "add model.peft: {}, or leave it out")
    if strategy in ("zero3", "zero3-offload", "fsdp2"):
        yield Lint(
            "error", key, f"launch.strategy {strategy} cuts weights, and packed ones cannot be cut", "use ddp or zero2"
        )
    if trainer_value(recipe, "use_vllm"):
        yield Lint(
            "error", key, "packed weights cannot be sent to vLLM", "use trainer.use_vllm: false, or whole weights"
        )
    if packed := sorted(QUANTISED & set(model.peft.modules_to_save or ()) if model.peft else ()):
        yield Lint(
            "error",
            "model.peft.modules_to_save",
            f"{', '.join(packed)} would be packed into 4 bits, and cannot be trained whole",
            "give it an adapter by target_modules",
        )


def packing(case: Case) -> Iterator[Lint]:
    model = case.recipe.model
    stated = [key for key in ("bnb_4bit_quant_type", "use_bnb_nested_quant") if key in model.model_fields_set]
    if stated and not model.load_in_4bit:
        yield Lint(
            "warning", f"model.{stated[0]}", "is read with model.load_in_4bit: true alone", "set that, or leave it out"
        )


def dora(case: Case) -> Iterator[Lint]:
    peft = case.recipe.model.peft
    if peft is not None and peft.use_dora and not peft.merge:
        yield Lint(
            "warning",
            "model.peft.use_dora",
            "transformers opens final/ without the sizes that DoRA has trained, and says so in a table only",
            "set model.peft.merge: true, or open final/ by PEFT's AutoPeftModelForCausalLM",
        )


RULES: tuple[Rule, ...] = (head, two_ways, four_bits, packing, dora)
