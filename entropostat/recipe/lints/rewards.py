"""Lints of rewards: what trains nothing, what shapes nothing, what nobody judges."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.adapter import of_model
from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.facts import info, option, rollout_readers
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.reward_sources import counts, judges, weight
from entropostat.recipe.rewards import rewarded
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier


def weightless(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if not rewarded(recipe.objective):
        return
    if not any(counts(term, list(recipe.sources)) for term in recipe.reward):
        message = "every verifier has weight 0, so every reward is 0 and nothing is learned"
        yield Lint("error", f"reward.{recipe.reward[0].name}.weight", message, "give the one to train on a weight")
        return
    for source in recipe.sources:
        judging = [term for term in recipe.reward if judges(term, source)]
        if all(weight(term, source) == 0 for term in judging):
            message = f"every verifier that judges {source} has weight 0 there, so nothing is learned from its prompts"
            fix = "give the one to train on a weight, or leave the source out"
            yield Lint("error", f"reward.{judging[0].name}.weight", message, fix)


def unjudged(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if recipe.reward and all(term.kind == "model" for term in recipe.reward):
        yield Lint(
            "note",
            f"reward.{recipe.reward[0].name}",
            "a reward model is the only judge: evaluation cannot show where it is fooled",
            "add a verifier with weight: 0, if the task has one",
        )


def scaled_away(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    shaping, base = recipe.shaping, next(iter(recipe.objective["advantages"]), None)
    more = shaping.clip is not None or shaping.missing_eos_penalty is not None
    if (
        base is not None
        and shaping.normalise
        and not more
        and base.kind == "grpo"
        and option(base, "advantages", "scale") != "none"
    ):
        yield Lint(
            "warning",
            "shaping.normalise",
            f"does nothing: {base.name} subtracts a mean and divides by a deviation of its own",
            f"leave it out, or use objective.advantages.{base.name}.scale: none",
        )


def masked_away(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if recipe.shaping.missing_eos_penalty is not None and trainer_value(recipe, "mask_truncated_completions"):
        yield Lint(
            "warning",
            "shaping.missing_eos_penalty",
            "is paid by completions that trainer.mask_truncated_completions keeps from learning of it",
            "use one of the two",
        )


def built_on_an_adapter(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    for term in recipe.reward:
        if term.options.get("build") is not None and of_model(recipe.model) is not None:
            yield Lint(
                "error",
                f"reward.{term.name}.build",
                "starts from all weights of the policy, and model.path is an adapter",
                "merge the adapter into its base and give the whole model, or give the reward model's `path`",
            )


def each_by_itself(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    base = next(iter(recipe.objective["advantages"]), None)
    if base is None or base.kind != "gdpo":
        return
    key = f"objective.advantages.{base.name}"
    for what in [*(term.name for term in recipe.objective["rewards"]), *["shaping"] * recipe.shaping.active][:1]:
        message = f"normalises each reward by itself, and {what} changes their sum, which it does not read"
        yield Lint("error", key, message, f"leave {what} out, or use grpo")
    if sum(counts(term, list(recipe.sources)) for term in recipe.reward) == 1:
        message = "has one reward: it is grpo whose advantages are normalised once more, over the generation"
        yield Lint("note", key, message, "use grpo, or add a second verifier to reward")


def without_keys(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if any(VERIFIERS[term.kind].answer_key is not Verifier.answer_key for term in recipe.reward):
        return
    readers = rollout_readers(recipe)
    for slot, term in recipe.terms:
        if "answers" in readers[term.name]:
            message = "clusters completions by their answer, and no verifier finds an answer in them"
            fix = "add one that does to reward, such as exact_match, with weight: 0 if it is not to count"
            yield Lint("error", f"objective.{slot}.{term.name}", message, fix)


def own_code(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    for term in recipe.reward:
        if term.kind == "function":
            yield Lint(
                "note",
                f"reward.{term.name}.path",
                f"runs your own code, {term.options['path']}",
                "train with --allow-code",
            )


def judged_by_a_model(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    models = [term.name for term in recipe.reward if term.kind == "model"]
    for slot, term in recipe.terms:
        stated = "success" in term.options or info(slot, term).field("success") is None
        if len(models) == len(recipe.reward) and not stated:
            yield Lint(
                "warning",
                f"objective.{slot}.{term.name}.success",
                f"a completion is right where {models[0]} gives more than {option(term, slot, 'success'):g}, and a reward model "
                "has a scale of its own",
                "set it to a score that a right answer has",
            )


RULES: tuple[Rule, ...] = (
    judged_by_a_model,
    weightless,
    unjudged,
    scaled_away,
    masked_away,
    built_on_an_adapter,
    each_by_itself,
    without_keys,
    own_code,
)
