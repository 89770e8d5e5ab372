"""What verl cannot carry, by name and before anything starts: read off what the terms declare that they need.

    for key, why, fix in refusals(load("recipe.yaml")): ...

No verl and no torch here: ``plan`` asks this where neither is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from entropostat.recipe.errors import nearest
from entropostat.recipe.facts import info, knobs_of, metrics_of, option, read_by
from entropostat.recipe.recipe import Objective, Recipe
from entropostat.recipe.terms import Term
from entropostat.rl.needs import STATISTICS
from entropostat.rl.signals import REF_ENTROPY, SIGNALS
from entropostat.verl.own_losses import NoCounterpart, own_loss

AGGREGATION = {
    "dapo": "token-mean",
    "grpo": "seq-mean-token-mean",
    "dr_grpo": "seq-mean-token-sum-norm",
    "luspo": "seq-mean-token-sum",
}
"""Normaliser of a loss, by its ``type`` -> verl's ``actor.loss_agg_mode``, which is the same mean over the mini-batch."""

DRIVER = frozenset(
    {
        *("logps", "mask", "old_logps", "sampler_logps", "ref_logps", "old_entropy", "advantages"),
        *("rewards", "unshaped", "groups", "uids", "lengths", "longest", "truncated", "clip"),
        *("token_ids", "pieces", "texts", "sum_p2"),
    }
)
"""Batch fields that the driver has of a whole generation."""
WORKER = frozenset(
    {
        *("logps", "mask", "advantages", "old_logps", "sampler_logps", "ref_logps", "entropy", "sum_p2"),
        *("uids", "tokens", "clip"),
    }
)
"""Batch fields that the actor's loss has of a micro-batch."""

LACKS = {
    "answers": ("verl's rewards come without the answers themselves", "group answers in a reward function of verl's"),
    "judged": ("verl's rewards do not say which of them decides", "leave right: judge out"),
    "reward_parts": ("verl adds its rewards up by itself", "take grpo, on their sum"),
    "reward_weights": ("verl adds its rewards up by itself", "take grpo, on their sum"),
    "old_values": ("the critic is verl's own", "state no advantages, and algorithm.adv_estimator: gae"),
    "planning": ("verl marks no phrases in its completions", "take planning: false"),
    "log_z": ("verl has no head for log Z", "train it with TRL"),
    "extra": ("verl samples no completions besides those of a step", "train it with TRL"),
    "to_teacher": ("verl's teacher gives no divergence over the vocabulary", "distil by verl's block distillation"),
}
"""Batch field -> why verl has none, and what to do instead."""
PASS = ("verl makes no pass over the vocabulary beyond entropy and sum_p2", "leave the term out, or train it with TRL")

SCALARS = {
    "learning_rate": ("verl's schedule is its own", "state actor.optim.lr_scheduler_type"),
    "temperature": ("verl samples at one temperature", "state rollout.temperature"),
}
VERLS = {"dynamic_sampling": "algorithm.filter_groups.enable"}
"""Kind of a link of the stream of prompts -> the switch of verl's that does the same; it must then be on."""
SAMPLERS = ("min_p", "typical_p", "eta_cutoff", "top_h", "mirostat", "repetition_penalty", "stop")
"""Keys of the block ``sampler`` that verl's rollout has not."""


class Refusal(NamedTuple):
    key: str
    """Dotted, of the recipe."""
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.key}: {self.why}; {self.fix}"


def refusals(given: Recipe | Objective) -> list[Refusal]:
    """Everything of a recipe, or of its objective as slots of terms, that verl cannot carry. Empty: it runs."""
    objective = given.objective if isinstance(given, Recipe) else given
    whole = _whole(given) if isinstance(given, Recipe) else ()
    return [*whole, *_of_objective(objective)]


def slotted(objective: Objective) -> list[tuple[str, Term]]:
    """(slot, term), with the loss that verl computes."""
    slots = ("rewards", "advantages", "weights", "penalties", "scalars", "data")
    terms = [(slot, term) for slot in slots for term in objective.get(slot) or ()]
    return [*terms, ("loss", own_loss(objective["loss"]))]


# --------------------------------------------------------------------------------------------------- the objective


def _of_objective(objective: Objective) -> Iterator[Refusal]:
    try:
        terms = slotted(objective)
    except NoCounterpart as error:
        yield Refusal(error.key, error.why, error.fix)
        terms = slotted({**objective, "loss": Term("none", "none", {})})
    for slot, term in terms:
        key = f"objective.{slot}.{term.name}"
        if slot == "scalars":
            yield Refusal(key, *SCALARS.get(term.kind, ("verl has nothing that reads it", "leave it out")))
        elif slot == "data":
            if term.kind not in VERLS:
                yield Refusal(key, "verl draws its prompts by itself", "choose prompts by data.sampler of verl")
        else:
            yield from _lacks(key, slot, term)
    yield from _means(terms)
    yield from _signals(terms)


def _lacks(key: str, slot: str, term: Term) -> Iterator[Refusal]:
    """Batch fields that it reads and that are not there; the rest of what a trainer would have to do for it."""
    told: set[tuple[str, str]] = set()
    missing = read_by(slot, term) - (DRIVER | WORKER)
    for field in sorted(missing):
        told.add(LACKS.get(field, PASS if field in STATISTICS else ("verl does not give it", "leave the term out")))
    fields = ", ".join(sorted(missing))
    yield from (Refusal(key, f"reads {fields}: {why}", fix) for why, fix in sorted(told))
    if slot == "penalties" and option(term, slot, "reference") in ("ema", "reset"):
        yield Refusal(f"{key}.reference", "verl's reference does not move", "take reference: initial")
    if slot == "weights" and term.kind == "lopti" and option(term, slot, "order") in ("low_first", "high_first"):
        yield Refusal(f"{key}.order", "verl does not tell a loss which epoch it is in", "take order: low or high")


def _means(terms: list[tuple[str, Term]]) -> Iterator[Refusal]:
    """What divides by the tokens of a micro-batch, of which verl makes as many as fit."""
    for slot, term in terms:
        key = f"objective.{slot}.{term.name}"
        if slot == "loss" and option(term, slot, "type") not in AGGREGATION:
            fix = f"take type: {', '.join(AGGREGATION)}"
            yield Refusal(f"{key}.type", f"verl has no mean like {option(term, slot, 'type')}'s", fix)
        if slot == "penalties" and term.kind == "entropy_bonus" and option(term, slot, "reduction") == "trl":
            yield Refusal(f"{key}.reduction", "verl does not say how many micro-batches there are", "take global")
        if slot == "penalties" and term.kind in ("ter", "siren") and option(term, slot, "scope") == "micro":
            yield Refusal(f"{key}.scope", "verl does not say how many micro-batches there are", "take rollout")


def _signals(terms: list[tuple[str, Term]]) -> Iterator[Refusal]:
    metrics = metrics_of(terms)
    loss = next(term for slot, term in terms if slot == "loss")
    for knob in knobs_of(terms):
        if knob.slot == "data":
            yield Refusal(knob.key, "verl draws its prompts by itself", "give a number")
        for signal in sorted(set(knob.reads.values())):
            if signal in REF_ENTROPY:
                yield Refusal(
                    knob.key, f"its controller reads {signal}", "verl measures no entropy of a reference; hold entropy"
                )
            elif signal == "clip_fraction" and info("loss", loss).holds == "nothing":
                yield Refusal(knob.key, f"its controller reads {signal}", f"{loss.name} clips nothing; read kl_old")
            elif signal not in SIGNALS and signal not in metrics:
                yield Refusal(knob.key, f"its controller reads {signal!r}", nearest(signal, {*SIGNALS, *metrics}))


# ------------------------------------------------------------------------------------------------ the whole recipe


def _whole(recipe: Recipe) -> Iterator[Refusal]:
    if recipe.kind != "grpo":
        fix = "state no advantages in verl's own configuration of the objective, and algorithm.adv_estimator: gae"
        yield Refusal("trainer.kind", f"{recipe.kind} brings a critic of ours", fix)
    if recipe.teacher.stated:
        yield Refusal("teacher", "the teacher is verl's own", "state it in verl's block distillation")
    if recipe.optimizer.muon is not None:
        yield Refusal("optimizer.muon", "verl builds its optimizer by itself", "state actor.optim.optimizer")
    if recipe.optimizer.step_radius is not None:
        fix = "bound a step by actor.optim.clip_grad"
        yield Refusal(
            "optimizer.step_radius", "it measures the policy between backward and step, where verl lets nobody in", fix
        )
    for key, value in _stated(recipe.shaping.model_dump(), type(recipe.shaping)().model_dump()).items():
        yield Refusal(
            f"shaping.{key}",
            f"{value} is applied between verifiers and advantages",
            "shape rewards in verl's reward function",
        )
    sampled = _stated(recipe.sampler.model_dump(), type(recipe.sampler)().model_dump())
    for key in (key for key in SAMPLERS if key in sampled):
        yield Refusal(f"sampler.{key}", "verl's rollout has temperature, top_p and top_k", "leave it out")
    for key in ("build", "package"):
        if getattr(recipe.model, key) is not None:
            yield Refusal(f"model.{key}", "verl loads a policy from a folder or the hub", "give model.path")
    if recipe.model.load_in_4bit:
        yield Refusal("model.load_in_4bit", "verl trains no policy in 4 bits", "leave it out")


def _stated(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Keys whose value is not the default."""
    return {key: value for key, value in values.items() if value != defaults[key]}
