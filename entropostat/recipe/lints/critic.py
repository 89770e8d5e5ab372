"""Lints of PPO: the trainer kind, its estimator and its critic must be asked for together."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.adapter import lora
from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.facts import option
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule


def without_ppo(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if recipe.kind == "ppo":
        return
    for term in recipe.objective["advantages"]:
        if term.kind == "gae":
            yield Lint(
                "error",
                f"objective.advantages.{term.name}",
                f"reads the values of a critic, and trainer.kind: {recipe.kind} has none",
                "set trainer.kind: ppo, or begin with grpo",
            )
    if recipe.resolved.get("critic") is not None:
        yield Lint(
            "error",
            "critic",
            f"there is no critic under trainer.kind: {recipe.kind}",
            "set trainer.kind: ppo and objective.advantages: [gae: {}], or remove the block",
        )


def estimator(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if recipe.kind != "ppo":
        return
    chain = recipe.objective["advantages"]
    if not chain or chain[0].kind != "gae":
        yield Lint(
            "error",
            f"objective.advantages.{chain[0].name}" if chain else "objective.advantages",
            f"{'comes first' if chain else 'are none'}, and the critic of trainer.kind: ppo learns from the returns of gae",
            "use advantages: [gae: {}], or trainer.kind: grpo",
        )
    for term in chain[1:]:
        if term.kind == "gae":
            yield Lint(
                "error",
                f"objective.advantages.{term.name}",
                f"replaces what {chain[0].name} has computed",
                "put gae first, and terms that reshape advantages behind it",
            )
    for term in recipe.objective["penalties"]:
        if term.kind == "aepo" and option(term, "penalties", "reference"):
            yield Lint(
                "error",
                f"objective.penalties.{term.name}.reference",
                "replaces rows of the generation whose values are known by then",
                "set it to false",
            )


def unsupported(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if recipe.kind != "ppo":
        return
    strategy = recipe.launch.strategy
    if strategy == "fsdp2":
        yield Lint(
            "error", "launch.strategy", "fsdp2 is not supported by trainer.kind: ppo", "use ddp or a zero strategy"
        )
    if trainer_value(recipe, "sync_ref_model"):
        yield Lint(
            "error",
            "trainer.sync_ref_model",
            "pairs every weight of the policy with one of the reference, which has no critic",
            "add kl_ref: {coef: 0.0, reference: ema} to objective.penalties instead",
        )
    if lora(recipe.model) is not None and recipe.critic.trunk == "separate":
        yield Lint(
            "error",
            "critic.trunk",
            "separate would copy the adapters with the backbone",
            "use trunk: shared, whose heads train under model.peft too, or train all weights",
        )
    if recipe.optimizer.muon is not None and strategy.startswith("zero"):
        yield Lint(
            "error",
            "optimizer.muon",
            f"under {strategy} Muon is DeepSpeed's, which would take the critic's weights for hidden matrices of the policy",
            "use single or ddp, or leave it out",
        )


def unread(case: Case) -> Iterator[Lint]:
    recipe, sizes, critic = case.recipe, case.sizes, case.recipe.critic
    if recipe.kind != "ppo":
        return
    dead = {
        "detach": (critic.trunk == "separate", "a separate trunk trains itself", "use trunk: shared"),
        "combine": (critic.heads == 1, "there is one head", "set heads: 2"),
        "per_head": (critic.heads == 1, "there is one head", "set heads: 2"),
        "alpha": (critic.heads == 1 or critic.combine != "softmin", "it belongs to softmin", "set combine: softmin"),
        "delta": (critic.loss != "huber", "it belongs to huber", "set loss: huber"),
        "clip_rule": (critic.clip is None, "clip is null", "set clip"),
        "clip": (critic.clip is not None and sizes.aligned, "every generation serves one update, before which no value has moved", "raise trainer.steps_per_generation or num_iterations"),
    }  # fmt: skip
    for key, (unused, why, fix) in dead.items():
        if unused and key in critic.model_fields_set:
            yield Lint("warning", f"critic.{key}", f"is not read: {why}", f"leave it out, or {fix}")


RULES: tuple[Rule, ...] = (without_ppo, estimator, unsupported, unread)
