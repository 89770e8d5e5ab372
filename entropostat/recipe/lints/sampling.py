"""Lints of what changes the distribution that completions are drawn from."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.facts import option
from entropostat.recipe.generation_rules import BIAS, backend, biasing, evaluated, given, key_of
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule


def truncated_sampling(case: Case) -> Iterator[Lint]:
    sampler = case.recipe.sampler
    cut = {
        "top_p": sampler.top_p < 1,
        "top_k": sampler.top_k > 0,
        "min_p": bool(sampler.min_p),
        "repetition_penalty": sampler.repetition_penalty != 1,
    }
    for key in (name for name, on in cut.items() if on):
        yield Lint(
            "warning",
            f"sampler.{key}",
            f"{BIAS}; evaluation samples without it",
            "leave it out, and control entropy by the objective or by sampler.temperature",
        )
    moved = next((term for term in case.recipe.objective["scalars"] if term.kind == "temperature"), None)
    if moved is not None and sampler.temperature not in (1, option(moved, "scalars", "value")):
        yield Lint(
            "error",
            "sampler.temperature",
            f"{sampler.temperature:g} would do nothing: objective.scalars.{moved.name} moves it",
            f"use objective.scalars.{moved.name}.value",
        )
    elif sampler.temperature != 1:
        yield Lint(
            "note",
            "sampler.temperature",
            f"entropy is measured and controlled at temperature {sampler.temperature:g}; evaluation uses 1",
            "state entropy targets for this temperature",
        )


def given_to_generate(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    by, values = backend(recipe.trainer), given(trainer_value(recipe, "generation_kwargs"))
    for name, key in biasing(values, by).items():
        also = "evaluation applies it too" if evaluated(name, by) else "evaluation cannot apply it"
        yield Lint("warning", f"trainer.generation_kwargs.{name}", f"{key.why}, which {BIAS}", f"leave it out; {also}")
    for name in values:
        if key_of(name, by) is None:
            yield Lint(
                "warning",
                f"trainer.generation_kwargs.{name}",
                "is not known here, and goes to vLLM as it is: what it does to sampling, evaluation does not do",
                "check its spelling",
            )


def structured(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if recipe.trainer.get("use_vllm") and trainer_value(recipe, "vllm_structured_outputs_regex") is not None:
        yield Lint(
            "warning",
            "trainer.vllm_structured_outputs_regex",
            f"forbids what does not match, which {BIAS}",
            "leave it out; evaluation cannot apply it",
        )


RULES: tuple[Rule, ...] = (truncated_sampling, given_to_generate, structured)
