"""What an objective computes, read off the catalog: needs, scopes, controllers. No term is imported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from entropostat.catalog import TermInfo, load
from entropostat.recipe.adapter import lora, of_model
from entropostat.recipe.arithmetic import Arithmetic, trainer_value
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.terms import Term
from entropostat.rl.loss_types import held_by
from entropostat.rl.needs import SCORED, TEACHER, Need, read
from entropostat.rl.signals import OLD_ENTROPY, needs_reference


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
        fields = load().terms["controllers"][self.controller].fields
        options = {f.name: self._option(f.name) for f in fields}
        named = [f for f in fields if f.name == "signal" or f.name.endswith("_signal")]
        signal_of = {f.name: options[f.name] for f in named if all(c.holds(options) for c in f.only)}
        target = self.options.get("target")
        if isinstance(target, dict):
            (kind, options), *_ = target.items()
            inner = replace(self, controller=kind, options=options or {}).reads
            signal_of |= {f"target.{kind}.{name}": signal for name, signal in inner.items()}
        return signal_of

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


def needs(recipe: Recipe) -> frozenset[str]:
    """Batch fields that the loss reads."""
    return frozenset().union(*(_read(slot, term, info(slot, term).needs) for slot, term in recipe.terms))


def rollout_needs(recipe: Recipe) -> frozenset[str]:
    """Batch fields that are read once per generation: by terms, by controllers, and by the trainer itself."""
    own = {"old_logps"} if recipe.kind == "ppo" else set()
    return frozenset(own).union(*rollout_readers(recipe).values())


def rollout_readers(recipe: Recipe) -> dict[str, frozenset[str]]:
    """Term or controlled field -> the batch fields that it reads once per generation."""
    readers = {term.name: _read(slot, term, info(slot, term).rollout_needs) for slot, term in recipe.terms}
    for knob in knobs(recipe):
        readers[knob.key] = frozenset({"old_entropy"} if OLD_ENTROPY & set(knob.reads.values()) else ())
    return readers


def read_by(slot: str, term: Term) -> frozenset[str]:
    """Batch fields that a term reads, in the loss or once per generation."""
    return _read(slot, term, (*info(slot, term).needs, *info(slot, term).rollout_needs))


def _read(slot: str, term: Term, declared: Iterable[Need]) -> frozenset[str]:
    return read(declared, {f.name: option(term, slot, f.name) for f in info(slot, term).fields})


def signals(recipe: Recipe) -> frozenset[str]:
    """What the controllers read."""
    return frozenset(signal for knob in knobs(recipe) for signal in knob.reads.values())


def metrics(recipe: Recipe) -> set[str]:
    """``term/metric`` of everything that the terms of the loss report at each optimizer step."""
    return metrics_of(recipe.terms)


def metrics_of(terms: Iterable[tuple[str, Term]]) -> set[str]:
    """The same, of terms with their slots."""
    return {
        f"{term.name}/{metric}"
        for slot, term in terms
        if slot not in ("rewards", "advantages", "data")  # those report once per generation
        for metric in info(slot, term).provides
    }


def knobs(recipe: Recipe) -> list[Knob]:
    return knobs_of(recipe.terms)


def knobs_of(terms: Iterable[tuple[str, Term]]) -> list[Knob]:
    """Of terms with their slots."""
    all_knobs = []
    for slot, term in terms:
        for key, value in term.options.items():
            declared = info(slot, term).field(key)
            if isinstance(value, dict) and declared is not None and not declared.fixed:
                (kind, options), *_ = value.items()
                all_knobs.append(Knob(slot, term, key, kind, options, info(slot, term).clock))
    return all_knobs


def corrected_sampler(recipe: Recipe) -> bool:
    """vLLM generates and TRL corrects for its mismatch, which needs the old log-probs in any case."""
    on = ("use_vllm", "vllm_importance_sampling_correction")
    return all(bool(trainer_value(recipe, key)) for key in on)


def sampler_readers(recipe: Recipe) -> list[str]:
    """Keys of the terms whose loss reads the log-probs of the engine that sampled."""
    return [f"objective.{slot}.{term.name}" for slot, term in _sampler_readers(recipe)]


def sampler_correctors(recipe: Recipe) -> list[str]:
    """Those that carry the ratio of trainer to sampler, which TRL's correction carries, too."""
    found = _sampler_readers(recipe)
    return [f"objective.{slot}.{term.name}" for slot, term in found if info(slot, term).corrects_sampler]


def _sampler_readers(recipe: Recipe) -> list[tuple[str, Term]]:
    return [(slot, t) for slot, t in recipe.terms if "sampler_logps" in _read(slot, t, info(slot, t).needs)]


def reads_reference(recipe: Recipe) -> bool:
    """A term or a controller compares with the reference model."""
    return needs_reference(needs(recipe) | rollout_needs(recipe), signals(recipe))


def partition_reader(recipe: Recipe) -> str | None:
    """Key of the loss that learns log Z of each prompt, if it does."""
    loss = recipe.objective["loss"]
    return f"objective.loss.{loss.name}" if "log_z" in _read("loss", loss, info("loss", loss).needs) else None


def teacher_readers(recipe: Recipe) -> list[str]:
    """Terms that compare with the teacher, as slot.name."""
    return [f"{slot}.{term.name}" for slot, term in _readers_of(recipe, TEACHER)]


def temperature_readers(recipe: Recipe) -> list[str]:
    """Terms that compare temperatures of their own with the one that completions are drawn at, as slot.name."""
    return [f"{slot}.{term.name}" for slot, term in _readers_of(recipe, "lse")]


def _readers_of(recipe: Recipe, field: str) -> list[tuple[str, Term]]:
    return [(slot, term) for slot, term in recipe.terms if field in read_by(slot, term)]


def extra_forwards(recipe: Recipe, sizes: Arithmetic) -> list[str]:
    """Forward passes per generation beyond generating and training, and why."""
    reasons = []
    if not sizes.aligned:
        reasons.append("old log-probs: several updates use one generation")
    elif corrected_sampler(recipe):
        reasons.append("old log-probs: vLLM's are corrected by them")
    else:
        asking = [name for name, fields in rollout_readers(recipe).items() if fields & SCORED]
        if asking:
            what = "old log-probs and values" if "old_values" in rollout_needs(recipe) else "old log-probs"
            reasons.append(f"{what}: {', '.join(asking)} (TRL alone would skip this forward)")
    if reads_reference(recipe):
        moves = any(option(term, slot, "reference") in ("ema", "reset") for slot, term in recipe.terms)
        how = "adapters switched off" if recipe.model.peft else "a frozen copy of the model"
        if of_model(recipe.model) is not None:
            how = "a frozen copy of the adapter"
        if moves:
            how = f"a second {'adapter' if lora(recipe.model) else 'model'} that follows the policy"
        reasons.append(f"reference log-probs: {how}")
    reading = [name for name, fields in rollout_readers(recipe).items() if TEACHER in fields]
    if reading:
        reasons.append(f"the teacher: {', '.join(reading)}")
    return reasons


def held_by_loss(recipe: Recipe) -> str:
    """``ratio``, ``weight`` or ``nothing``: what the bounds of the loss hold. TRL's depends on its type."""
    loss = recipe.objective["loss"]
    return held_by(option(loss, "loss", "type")) if loss.kind == "trl" else info("loss", loss).holds
