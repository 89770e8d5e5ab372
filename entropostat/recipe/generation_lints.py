"""Lints of what changes the distribution that completions are drawn from, beside the sampler block."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.generation_rules import BIAS, backend, biasing, evaluated, given, key_of
from entropostat.recipe.lint import Lint
from entropostat.recipe.recipe import Recipe


def lints(recipe: Recipe) -> list[Lint]:
    return [*_given(recipe), *_structured(recipe)]


def _given(recipe: Recipe) -> Iterator[Lint]:
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


def _structured(recipe: Recipe) -> Iterator[Lint]:
    if recipe.trainer.get("use_vllm") and trainer_value(recipe, "vllm_structured_outputs_regex") is not None:
        yield Lint(
            "warning",
            "trainer.vllm_structured_outputs_regex",
            f"forbids what does not match, which {BIAS}",
            "leave it out; evaluation cannot apply it",
        )
