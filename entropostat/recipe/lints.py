"""Combinations that are valid key by key and still do nothing, or something else than they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from entropostat.recipe import (
    anchor_lints,
    batch_lints,
    critic_lints,
    generation_lints,
    model_lints,
    reward_lints,
    step_lints,
)
from entropostat.recipe.adapter import AdapterError, of_model
from entropostat.recipe.arithmetic import Arithmetic
from entropostat.recipe.errors import nearest
from entropostat.recipe.facts import corrected_sampler, held_by_loss, info, knobs, metrics, option
from entropostat.recipe.generation_rules import BIAS
from entropostat.recipe.lint import Lint
from entropostat.recipe.recipe import Recipe
from entropostat.rl.controllers.autopilot import Autopilot
from entropostat.rl.controllers.follow import Follow, broken
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import CONTROLLERS
from entropostat.rl.signals import SIGNALS

LEVELS: tuple[Literal["error", "warning", "note"], ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Case:
    recipe: Recipe
    sizes: Arithmetic

    @property
    def on_policy(self) -> bool:
        """All ratios are exactly 1: with vLLM they are only nearly so."""
        return self.sizes.aligned and not corrected_sampler(self.recipe)


def lints(recipe: Recipe, sizes: Arithmetic) -> list[Lint]:
    """Errors first."""
    found = [lint for rule in RULES for lint in rule(Case(recipe, sizes))]
    found += batch_lints.lints(recipe, sizes) + anchor_lints.lints(recipe, sizes) + step_lints.lints(recipe)
    found += critic_lints.lints(recipe, sizes) + reward_lints.lints(recipe)
    found += generation_lints.lints(recipe) + model_lints.lints(recipe)
    return sorted(found, key=lambda lint: LEVELS.index(lint.level))


def base_of_adapter(case: Case) -> Iterator[Lint]:
    adapter = of_model(case.recipe.model)
    try:
        _ = adapter and adapter.base
    except AdapterError as error:
        what, _, fix = str(error).rpartition("; ")
        yield Lint("error", "model.path", what, fix)


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
    if case.on_policy and stated and _clips(case):
        yield Lint(
            "warning",
            f"objective.loss.{loss.name}.{stated[0]}",
            "is inert: every generation serves one update, so all ratios are 1 and nothing is clipped",
            "raise trainer.steps_per_generation or num_iterations, or leave the clip range out",
        )


def _clips(case: Case) -> bool:
    loss = case.recipe.objective["loss"]
    return loss.kind == "ppo_clip" or (loss.kind == "trl" and option(loss, "loss", "type") in CLIPPED)


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


def micro_scope(case: Case) -> Iterator[Lint]:
    for slot, term in case.recipe.terms:
        if option(term, slot, "scope") == "micro" and case.sizes.micro == 1:
            yield Lint(
                "warning",
                f"objective.{slot}.{term.name}.scope",
                "micro with one sequence per micro-batch: the advantage is constant there, so its covariance is 0",
                "use scope: rollout, or raise trainer.per_device_train_batch_size",
            )


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


def controllers(case: Case) -> Iterator[Lint]:
    found = knobs(case.recipe)
    inert = {lint.key for rule in (aligned_kl_cov, inert_clip, micro_scope) for lint in rule(case)}
    readers: dict[str, str] = {}
    for knob in found:
        dead = [key for key in inert if knob.key == key or knob.key.startswith(f"{key}.")]
        if dead or _clip_knob(case, knob.key):
            reads = f"signal {knob.signal}" if knob.signal else "its schedule"
            yield Lint(
                "warning",
                knob.key,
                f"{knob.controller} turns a knob that does nothing here, so {reads} will not follow it",
                "make the term act first (see the other warnings), or control another field",
            )
        if knob.signal and knob.signal in readers:
            yield Lint(
                "warning",
                knob.key,
                f"a second controller on the signal {knob.signal!r}; {readers[knob.signal]} reads it too: they fight",
                "keep one of the two loops",
            )
        if knob.signal:
            readers.setdefault(knob.signal, knob.key)


def _clip_knob(case: Case, key: str) -> bool:
    loss = case.recipe.objective["loss"]
    return case.on_policy and _clips(case) and key.startswith(f"objective.loss.{loss.name}.epsilon")


def signals(case: Case) -> Iterator[Lint]:
    read = [(f"{k.key}.{k.controller}.{name}", signal) for k in knobs(case.recipe) for name, signal in k.reads.items()]
    known = {*SIGNALS, *metrics(case.recipe)}
    for key, signal in read:
        if signal not in known:
            yield Lint("error", key, f"nothing measures {signal!r}", nearest(signal, known))
        if signal == "clip_fraction" and held_by_loss(case.recipe) == "nothing":
            yield Lint(
                "error",
                key,
                "nothing measures clip_fraction: this loss holds no token at a bound",
                "choose a loss that clips, such as trl or ppo_clip, or control by kl_old",
            )
        if signal == "kl_old" and case.on_policy:
            yield Lint(
                "warning",
                key,
                "kl_old is 0 throughout: every generation serves one update",
                "raise trainer.steps_per_generation, or control by kl",
            )


def followers(case: Case) -> Iterator[Lint]:
    found = {knob.key.removeprefix("objective."): knob for knob in knobs(case.recipe)}
    built = {path: CONTROLLERS.build(knob.controller, knob.options) for path, knob in found.items()}
    for path, problem in broken(built):
        yield Lint("error", f"objective.{path}", problem, "a knob is called slot.term.field")
    used = {(c.knob, c.key) for c in built.values() if isinstance(c, Follow)}
    for path, controller in built.items():
        if isinstance(controller, Autopilot) and controller.bonus_gain and (path, "rest") not in used:
            yield Lint(
                "warning",
                f"objective.{path}",
                "nothing follows its second actuator, so what re-weighting cannot do is not done",
                f"add entropy_bonus: {{coef: {{follow: {{knob: {path}, key: rest}}}}}}, or set bonus_gain: 0",
            )


RULES: tuple[Callable[[Case], Iterator[Lint]], ...] = (
    base_of_adapter,
    aligned_kl_cov,
    reshaper_without_base,
    inert_clip,
    sequence_level,
    micro_scope,
    truncated_sampling,
    controllers,
    signals,
    followers,
)
