"""What an objective computes, read off the catalog: needs, scopes, controllers. No term is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from entropostat.catalog import TermInfo, load
from entropostat.recipe.arithmetic import Arithmetic, trainer_value
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.signals import REFERENCE
from entropostat.recipe.terms import Term


@dataclass(frozen=True)
class Knob:
    """A field that a controller moves."""

    slot: str
    term: Term
    field: str
    controller: str
    options: dict[str, Any]
    clock: str

    @property
    def key(self) -> str:
        return f"objective.{self.slot}.{self.term.name}.{self.field}"

    @property
    def reads(self) -> dict[str, str]:
        """Option -> the signal that it names: the one under control, and those that are only looked at."""
        names = [f.name for f in load().terms["controllers"][self.controller].fields]
        found = {name: self._option(name) for name in names if name == "signal" or name.endswith("_signal")}
        target = self.options.get("target")
        if isinstance(target, dict):
            (kind, options), *_ = target.items()
            inner = replace(self, controller=kind, options=options).reads
            found |= {f"target.{kind}.{name}": signal for name, signal in inner.items()}
        return found

    @property
    def signal(self) -> str | None:
        return self._option("signal")  # type: ignore[no-any-return]

    def _option(self, name: str) -> Any:
        return option(Term("", self.controller, self.options), "controllers", name)


def info(slot: str, term: Term) -> TermInfo:
    return load().terms[slot][term.kind]


def option(term: Term, slot: str, key: str) -> Any:
    """What the recipe states, else the term's default; None where the term has no such key."""
    declared = info(slot, term).field(key)
    return term.options.get(key, declared.default if declared else None)


def needs(recipe: Recipe) -> set[str]:
    """Batch fields that the loss reads."""
    return {need for slot, term in recipe.terms for need in info(slot, term).needs}


def rollout_needs(recipe: Recipe) -> set[str]:
    """Batch fields that are read once per generation."""
    found: set[str] = set()
    for slot, term in recipe.terms:
        if slot == "advantages" or option(term, slot, "scope") == "rollout":
            found |= rollout_needs_of(slot, term)
    return found


def rollout_needs_of(slot: str, term: Term) -> set[str]:
    """Those of one term: a divergence in the reward reads the reference beside what the term always reads."""
    divergent = slot == "advantages" and option(term, slot, "kl_coef") is not None
    return {*info(slot, term).rollout_needs, *(("old_logps", "ref_logps") if divergent else ())}


def metrics(recipe: Recipe) -> set[str]:
    """``term/metric`` of everything that the terms of the loss report at each optimizer step."""
    return {
        f"{term.name}/{metric}"
        for slot, term in recipe.terms
        if slot != "advantages"
        for metric in info(slot, term).provides
    }


def knobs(recipe: Recipe) -> list[Knob]:
    found = []
    for slot, term in recipe.terms:
        for key, value in term.options.items():
            declared = info(slot, term).field(key)
            if isinstance(value, dict) and declared is not None and not declared.fixed:
                (kind, options), *_ = value.items()
                found.append(Knob(slot, term, key, kind, options, info(slot, term).clock))
    return found


def corrected_sampler(recipe: Recipe) -> bool:
    """vLLM generates and TRL corrects for its mismatch, which needs the old log-probs in any case."""
    on = ("use_vllm", "vllm_importance_sampling_correction")
    return all(bool(trainer_value(recipe, key)) for key in on)


def reads_reference(recipe: Recipe) -> bool:
    """A term or a controller compares with the reference model."""
    measured = {signal for knob in knobs(recipe) for signal in knob.reads.values()} & REFERENCE
    return bool(measured) or "ref_logps" in needs(recipe) | rollout_needs(recipe)


def extra_forwards(recipe: Recipe, sizes: Arithmetic) -> list[str]:
    """Forward passes per generation beyond generating and training, and why."""
    found = []
    if not sizes.aligned:
        found.append("old log-probs: several updates use one generation")
    elif corrected_sampler(recipe):
        found.append("old log-probs: vLLM's are corrected by them")
    else:
        reading = sorted({"old_logps", "old_entropy", "old_values"} & rollout_needs(recipe))
        if reading:
            asking = ", ".join(t.name for s, t in recipe.terms if {*reading} & rollout_needs_of(s, t))
            what = "old log-probs and values" if "old_values" in reading else "old log-probs"
            scope = "" if "old_values" in reading else " with scope rollout"
            found.append(f"{what}: {asking}{scope} (TRL alone would skip this forward)")
    if reads_reference(recipe):
        moves = any(option(term, slot, "reference") in ("ema", "reset") for slot, term in recipe.terms)
        how = "adapters switched off" if recipe.model.peft else "a frozen copy of the model"
        if moves:
            how = f"a second {'adapter' if recipe.model.peft else 'model'} that follows the policy"
        found.append(f"reference log-probs: {how}")
    return found
