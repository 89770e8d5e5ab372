"""Lints of a loss that learns log Z of each prompt: where its head cannot be trained, or reads what nobody moves."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.facts import partition_reader
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule


def untrainable(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if (key := partition_reader(recipe)) is None:
        return
    strategy = recipe.launch.strategy
    if recipe.kind == "ppo":
        yield Lint(
            "error",
            key,
            "learns log Z of a prompt in place of the values of a critic, which trainer.kind: ppo has",
            "set trainer.kind: grpo with advantages: [grpo: {}], or take another loss",
        )
    if strategy == "fsdp2":
        yield Lint(
            "error", "launch.strategy", f"fsdp2 is not supported by the head of {key}", "use ddp or a zero strategy"
        )
    if trainer_value(recipe, "sync_ref_model"):
        yield Lint(
            "error",
            "trainer.sync_ref_model",
            f"pairs every weight of the policy with one of the reference, which has not the head of {key}",
            "add kl_ref: {coef: 0.0, reference: ema} to objective.penalties instead",
        )
    if recipe.optimizer.muon is not None and strategy.startswith("zero"):
        yield Lint(
            "error",
            "optimizer.muon",
            f"under {strategy} Muon is DeepSpeed's, which would take the head of {key} for hidden matrices of the policy",
            "use single or ddp, or leave it out",
        )


def inert_cap(case: Case) -> Iterator[Lint]:
    loss = case.recipe.objective["loss"]
    if loss.kind == "flowrl" and case.on_policy and loss.options.get("cap") is not None:
        yield Lint(
            "warning",
            f"objective.loss.{loss.name}.cap",
            "is inert: every generation serves one update, so the weight of every completion is 1",
            "raise trainer.steps_per_generation or num_iterations, or leave it out",
        )


RULES: tuple[Rule, ...] = (untrainable, inert_cap)
