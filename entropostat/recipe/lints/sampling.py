"""Lints of what changes the distribution that completions are drawn from."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.evaluated import sampling
from entropostat.recipe.facts import option, temperature_readers
from entropostat.recipe.generation_rules import BIAS, backend, beyond_engine, biasing, given, key_of, unsupported
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.recipe import Recipe


def truncated_sampling(case: Case) -> Iterator[Lint]:
    sampler = case.recipe.sampler
    corrected = any(term.kind == "truncated_policy" for term in case.recipe.objective["penalties"])
    cut = {
        "top_p": sampler.top_p < 1,
        "top_k": sampler.top_k > 0,
        "min_p": bool(sampler.min_p) and not corrected,
        "repetition_penalty": sampler.repetition_penalty != 1,
        **dict.fromkeys(sampler.processed, True),
    }
    for key in (name for name, on in cut.items() if on):
        yield Lint(
            "warning",
            f"sampler.{key}",
            f"{BIAS}; {_evaluated(case, key)}",
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
    elif moved is not None and (readers := temperature_readers(case.recipe)):
        yield Lint(
            "error",
            f"objective.scalars.{moved.name}",
            f"{readers[0]} compares temperatures of its own with a constant one",
            "set sampler.temperature instead",
        )
    elif sampler.temperature != 1:
        yield Lint(
            "note",
            "sampler.temperature",
            f"entropy is measured and controlled at temperature {sampler.temperature:g}; evaluation uses "
            f"{sampling(case.recipe).temperature:g}",
            "state entropy targets for this temperature",
        )


def _evaluated(case: Case, key: str) -> str:
    stated = getattr(case.recipe.evaluate, key, None)
    return "evaluation samples with it too" if stated is None else f"evaluation has its own, {stated:g}"


def corrected_truncation(case: Case) -> Iterator[Lint]:
    mine = case.recipe.sampler.min_p or 0.0
    for term in case.recipe.objective["penalties"]:
        if term.kind == "truncated_policy" and (theirs := option(term, "penalties", "min_p")) != mine:
            yield Lint(
                "error",
                f"objective.penalties.{term.name}.min_p",
                f"{theirs:g} is not what completions are sampled with: sampler.min_p is {mine:g}",
                f"set both to the same value, or take {term.name} out",
            )


def only_transformers(case: Case) -> Iterator[Lint]:
    by = backend(case.recipe.trainer)
    if by == "transformers":
        return
    for key in case.recipe.sampler.processed:
        problem, _, fix = unsupported(by).partition("; ")
        yield Lint("error", f"sampler.{key}", problem, fix)


def beyond_the_engine(case: Case) -> Iterator[Lint]:
    by = backend(case.recipe.trainer)
    for key, value in _temperatures(case.recipe):
        if said := beyond_engine(value, by):
            yield Lint("error", key, said, "use a temperature between, or set trainer.use_vllm: false")


def _temperatures(recipe: Recipe) -> Iterator[tuple[str, float]]:
    """(key, a temperature that the recipe states there). A controller's own range is no statement: the trainer narrows it."""
    moved = next((term for term in recipe.objective["scalars"] if term.kind == "temperature"), None)
    value = recipe.sampler.temperature if moved is None else option(moved, "scalars", "value")
    key = "sampler.temperature" if moved is None else f"objective.scalars.{moved.name}.value"
    if not isinstance(value, dict):
        yield key, value
    elif "schedule" in value:
        yield from ((f"{key}.schedule.points", point) for _, point in value["schedule"]["points"])
    if recipe.evaluate.temperature is not None:
        yield "evaluate.temperature", recipe.evaluate.temperature
    for term in recipe.objective["penalties"]:
        if term.kind == "aepo":
            yield from (
                (f"objective.penalties.{term.name}.{t}", option(term, "penalties", t)) for t in ("t_high", "t_low")
            )


def given_to_generate(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    by, values = backend(recipe.trainer), given(trainer_value(recipe, "generation_kwargs"))
    for name, key in biasing(values, by).items():
        also = "evaluation leaves it out" if name == "seed" else "evaluation applies it too"
        yield Lint("warning", f"trainer.generation_kwargs.{name}", f"{key.why}, which {BIAS}", f"leave it out; {also}")
    for name in values:
        if key_of(name, by) is None:
            yield Lint(
                "warning",
                f"trainer.generation_kwargs.{name}",
                "is not known here, and goes to vLLM as it is, in training and evaluation",
                "check its spelling",
            )


def structured(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if recipe.trainer.get("use_vllm") and trainer_value(recipe, "vllm_structured_outputs_regex") is not None:
        yield Lint(
            "warning",
            "trainer.vllm_structured_outputs_regex",
            f"forbids what does not match, which {BIAS}",
            "leave it out; evaluation applies it too",
        )


RULES: tuple[Rule, ...] = (
    truncated_sampling,
    corrected_truncation,
    only_transformers,
    beyond_the_engine,
    given_to_generate,
    structured,
)
