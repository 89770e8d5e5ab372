"""Lints of terms that another term or the batch leaves without effect, and of terms that do not go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from entropostat.recipe.facts import info, option
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.terms import Term
from entropostat.rl.loss_types import CLIPPED


def aligned_kl_cov(case: Case) -> Iterator[Lint]:
    for term in case.recipe.objective["penalties"]:
        if term.kind == "kl_cov" and case.sizes.aligned:
            # With vLLM the old log-probs come from a forward of their own, and an L1 penalty has full size at any distance.
            effect = (
                "has zero gradient" if case.on_policy else "acts on the rounding between two forwards, at full size"
            )
            yield Lint(
                "warning",
                f"objective.penalties.{term.name}",
                f"{effect}: every generation serves one update, so the policy equals the old one",
                "set trainer.steps_per_generation to at least twice gradient_accumulation_steps (the paper: 8 updates)",
            )


def reshaper_without_base(case: Case) -> Iterator[Lint]:
    chain = case.recipe.objective["advantages"]
    if chain and info("advantages", chain[0]).reshapes:
        yield Lint(
            "error",
            f"objective.advantages.{chain[0].name}",
            "reshapes the advantages of the term before it, and there is none",
            "put a base estimator first, such as grpo",
        )


def inert_clip(case: Case) -> Iterator[Lint]:
    loss = case.recipe.objective["loss"]
    stated = [key for key in ("epsilon", "epsilon_high", "delta", "dual") if loss.options.get(key) is not None]
    if case.on_policy and stated and clips(case):
        yield Lint(
            "warning",
            f"objective.loss.{loss.name}.{stated[0]}",
            "is inert: every generation serves one update, so all ratios are 1 and nothing is clipped",
            "raise trainer.steps_per_generation or num_iterations, or leave the clip range out",
        )


def clips(case: Case) -> bool:
    loss = case.recipe.objective["loss"]
    return loss.kind in ("ppo_clip", "copo") or (loss.kind == "trl" and option(loss, "loss", "type") in CLIPPED)


def sequence_level(case: Case) -> Iterator[Lint]:
    loss, weights = case.recipe.objective["loss"], case.recipe.objective["weights"]
    tokenwise = [t for t in case.recipe.objective["advantages"] if info("advantages", t).tokenwise]
    key = f"objective.loss.{loss.name}"
    if loss.kind != "trl":
        return
    if option(loss, "loss", "importance_sampling_level") == "sequence" and (weights or tokenwise):
        names = ", ".join(term.name for term in (*weights, *tokenwise))
        yield Lint(
            "error",
            f"{key}.importance_sampling_level",
            f"sequence-level ratios spread every token's gradient over its sequence, so {names} would select nothing",
            "use importance_sampling_level: token, or take the token terms out",
        )
    if option(loss, "loss", "type") == "luspo" and weights:
        yield Lint(
            "warning",
            f"{key}.type",
            "luspo sums over the tokens of a sequence: token weights also shorten what long sequences count",
            "use type: dapo with token weights",
        )
    if option(loss, "loss", "off_policy_mask_threshold") is not None and tokenwise:
        yield Lint(
            "error",
            f"{key}.off_policy_mask_threshold",
            f"masks by the sign of a sequence's advantage, which {tokenwise[0].name} changes from token to token",
            "leave off_policy_mask_threshold out, or use per-sequence advantages",
        )


ALONE = {
    "clip_cov": "nothing is ever drawn: the advantage is constant there, so every covariance is 0",
    "kl_cov": "the tokens are arbitrary: the advantage is constant there, so every covariance is 0",
    "bapo": "the bounds go to one end or the other: all advantages there have one sign",
}
"""What becomes of a term whose statistics run over one completion, of advantages that are equal on its tokens."""


def micro_scope(case: Case) -> Iterator[Lint]:
    tokenwise = any(info("advantages", t).tokenwise for t in case.recipe.objective["advantages"])
    for slot, term in case.recipe.terms:
        scope = info(slot, term).field("scope")
        read = scope is not None and all(c.holds(_options(slot, term)) for c in scope.only)
        if scope is not None and read and option(term, slot, "scope") == "micro" and case.sizes.micro == 1:
            alone = "its means, quantiles and extremes are those of one completion, not of the batch"
            yield Lint(
                "warning",
                f"objective.{slot}.{term.name}.scope",
                f"micro with one sequence per micro-batch: {alone if tokenwise else ALONE.get(term.kind, alone)}",
                f"use scope: {scope.default}, or raise trainer.per_device_train_batch_size",
            )


def _options(slot: str, term: Term) -> dict[str, Any]:
    """With the defaults."""
    return {field.name: option(term, slot, field.name) for field in info(slot, term).fields}


def half_a_lopti(case: Case) -> Iterator[Lint]:
    for term in case.recipe.objective["weights"]:
        alternates = term.kind == "lopti" and str(option(term, "weights", "order")).endswith("_first")
        if alternates and case.sizes.iterations % 2:
            yield Lint(
                "error",
                f"objective.weights.{term.name}",
                f"takes turns over 2 passes of a generation, and trainer.num_iterations is {case.sizes.iterations}",
                "set trainer.num_iterations: 2, or order: low",
            )


RULES: tuple[Rule, ...] = (aligned_kl_cov, half_a_lopti, reshaper_without_base, inert_clip, sequence_level, micro_scope)
