"""Lints of terms that act on the difference between the engine that samples and the one that trains."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.facts import corrected_sampler, sampler_correctors, sampler_readers
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule

MISMATCH = ("icepop", "truncated_is", "sequence_mask", "rejection")
"""They compare the policy of the generation in both engines."""
DRIFT = ("off_policy_mask", "dppo", "ipo")
"""They compare the policy that trains with the one that sampled."""
CORRECTION = "vllm_importance_sampling_correction"


def corrected_twice(case: Case) -> Iterator[Lint]:
    first, *others = sampler_correctors(case.recipe) or [""]
    for key in others:
        yield Lint(
            "error",
            key,
            f"carries the ratio of trainer to sampler, as {first} does: every token would be weighted by it twice",
            "keep one of them; rejection and off_policy_mask only drop, and may stand beside it",
        )
    if first and corrected_sampler(case.recipe):
        yield Lint(
            "error",
            f"trainer.{CORRECTION}",
            f"true, TRL's default, would weight every token by the ratio to the sampler a second time, beside {first}",
            f"set trainer.{CORRECTION}: false",
        )


def inert_mask(case: Case) -> Iterator[Lint]:
    if case.recipe.trainer.get("use_vllm"):
        return
    for slot in ("weights", "loss"):
        terms = case.recipe.objective[slot]
        for term in terms if slot == "weights" else [terms]:
            key = f"objective.{slot}.{term.name}"
            if term.kind in MISMATCH:
                yield Lint(
                    "note",
                    key,
                    "is inert: the trainer samples itself, so the sampler's log-probs are its own",
                    "set trainer.use_vllm, or leave it out",
                )
            elif term.kind in DRIFT and case.sizes.aligned:
                yield Lint(
                    "note",
                    key,
                    "drops nothing: the trainer samples itself and every generation serves one update, so the policy is the "
                    "one that sampled",
                    "raise trainer.steps_per_generation or num_iterations, or set trainer.use_vllm",
                )


def raw_log_probs(case: Case) -> Iterator[Lint]:
    """In the process itself TRL starts the engine so; of a server it asks only for its own correction."""
    served = case.recipe.trainer.get("use_vllm") and trainer_value(case.recipe, "vllm_mode") == "server"
    readers = sampler_readers(case.recipe)
    if served and readers and not corrected_sampler(case.recipe):
        yield Lint(
            "note",
            readers[0],
            "reads the log-probs that the server gives, which by its default are those before temperature and truncation",
            "start it with --logprobs-mode processed_logprobs",
        )


RULES: tuple[Rule, ...] = (corrected_twice, inert_mask, raw_log_probs)
