"""From an objective to the fields of TRL's config that it owns, and what of the config it leaves without effect."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sized
from typing import Any, NamedTuple

from transformers.utils import is_torch_bf16_gpu_available
from trl import GRPOConfig, GRPOTrainer

from entropostat.recipe.errors import nearest, show
from entropostat.recipe.owned import IDLE, OF_TRLS_LOSS, OWNED, REFUSED
from entropostat.rl.control import Control
from entropostat.rl.signals import SIGNALS, needs_reference
from entropostat.trainers.packages import check_packages
from entropostat.trainers.trl.decoding import check_generation_kwargs

REFERENCE_BETA = 1e-8
"""Any beta above 0 makes TRL load a reference model and score it; the mixin sets beta to 0 inside the loss."""


def reads_reference(control: Control) -> bool:
    """Whether a term or a controller reads the reference policy."""
    objective = control.template
    return needs_reference(objective.needs | objective.rollout_needs, control.signals)


def owned_fields(control: Control) -> dict[str, Any]:
    """TRL field -> value, for every field that the objective decides."""
    objective = control.template
    loss = objective.loss.term
    fields: dict[str, Any] = {"loss_type": loss.aggregation}
    if reads_reference(control):
        fields["beta"] = REFERENCE_BETA
    if loss.delegated:
        fields |= {name: objective.loss.options[name] for name in OF_TRLS_LOSS}
    if objective.advantages:
        first = objective.advantages[0].term
        fields["multi_objective_aggregation"] = first.multi_objective_aggregation
        if first.scale_rewards is not None:
            # Ours replace TRL's advantages; the same scaling keeps its logged std and zero-std share meaningful.
            fields["scale_rewards"] = first.scale_rewards
    return fields


class Kind(NamedTuple):
    """What two trainers differ in before there is one."""

    name: str
    form: type[GRPOConfig]
    smallest_group: int
    """Completions per prompt, at least."""


GRPO = Kind("GRPO", GRPOConfig, smallest_group=2)


def by_name(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as GRPOTrainer takes them, positional ones too, and ours, all by name."""
    own = inspect.signature(GRPOTrainer.__init__)
    known = {key: value for key, value in kwargs.items() if key in own.parameters}
    return {**kwargs, **dict(list(own.bind_partial(None, *args, **known).arguments.items())[1:])}


def arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any], control: Control, kind: Kind) -> dict[str, Any]:
    """All of them by name, with the config that the objective makes of the one that is given, or of TRL's default."""
    named = by_name(args, kwargs)
    config = named.get("args")
    config = configure(default_config(named["model"], kind) if config is None else config, control, kind)
    check_prompts(named.get("train_dataset"), config)
    return {**named, "args": config}


def default_config(model: Any, kind: Kind) -> GRPOConfig:
    """TRL's default for ``args``, in the folder that it would take; without bfloat16 where the machine has none."""
    path = model if isinstance(model, str) else model.config._name_or_path
    folder = f"{path.split('/')[-1]}-{kind.name}"
    return kind.form(folder) if is_torch_bf16_gpu_available() else kind.form(folder, bf16=False)


def configure(args: GRPOConfig, control: Control, kind: Kind = GRPO) -> GRPOConfig:
    """A copy of ``args`` with the owned fields written. Raises ValueError for what would then be without effect."""
    if not isinstance(args, GRPOConfig):
        raise TypeError(f"args: must be a GRPOConfig, not {show(args)}")
    check_packages(args)
    args = copy.copy(args)
    check_generation_kwargs(args)
    if problems := list(without_effect(args, control)):
        raise ValueError("\n".join(problems))
    if args.num_generations is not None and args.num_generations < kind.smallest_group:
        raise ValueError(
            f"num_generations: {args.num_generations} completion per prompt has nothing to be compared with; use at least "
            f"{kind.smallest_group}, or a critic (EntropyPPOTrainer)"
        )
    sampler = control.template.sampler
    if sampler is not None and sampler.term.replaces and args.use_vllm and args.vllm_importance_sampling_correction:
        raise ValueError(
            f"vllm_importance_sampling_correction: true would undo the temperature of the rows that "
            f"objective.penalties.{sampler.name} puts in. Set it to false, or the term's `reference` to false."
        )
    correctors = control.template.sampler_correctors
    if correctors and args.use_vllm and args.vllm_importance_sampling_correction:
        raise ValueError(
            f"vllm_importance_sampling_correction: true would weight every token by the ratio to the sampler a second time, "
            f"beside {correctors[0].name} of the objective. Set it to false."
        )
    for part in control.template.reading:
        if part.term.assumed_temperature not in (None, args.temperature):
            raise ValueError(
                f"objective: {part.name}.sampling_temperature {part.term.assumed_temperature:g} is not the trainer's "
                f"temperature, {args.temperature:g}: write that"
            )
    for weight in control.template.weights:
        if args.num_iterations % (passes := weight.term.passes):
            raise ValueError(
                f"objective.weights.{weight.name}: takes turns over {passes} passes of a generation, and "
                f"num_iterations is {args.num_iterations}: set it to {passes}"
            )
    for name, value in owned_fields(control).items():
        setattr(args, name, value)
    return args


def check_prompts(dataset: Any, args: GRPOConfig) -> None:
    """TRL's sampler leaves out what fills no generation: of fewer prompts it would make no step at all, and say nothing."""
    asked = prompts_per_generation(args)
    if isinstance(dataset, Sized) and len(dataset) < asked:
        raise ValueError(f"train_dataset: {len(dataset)} prompts {too_few(asked)}")


def prompts_per_generation(args: Any) -> int:
    asked: int = args.generation_batch_size // args.num_generations
    return asked


def too_few(asked: int) -> str:
    return (
        f"do not fill one generation of {asked} (generation_batch_size / num_generations); add prompts, or lower "
        "per_device_train_batch_size or steps_per_generation"
    )


def without_effect(args: GRPOConfig, control: Control) -> Iterator[str]:
    """One line for each field that is neither TRL's default nor what the objective writes, and acts on nothing beside it."""
    written, idle = owned_fields(control), dict(idle_fields(control))
    defaults = {f.name: f.default for f in dataclasses.fields(GRPOConfig)}
    defaults |= {f.name: f.default_factory() for f in dataclasses.fields(GRPOConfig) if callable(f.default_factory)}
    for name in (*written, *(name for name in idle if name not in written)):
        value = getattr(args, name)
        if value in (defaults[name], written.get(name, defaults[name])):
            continue
        why = idle.get(name) or f"the objective writes {show(written[name])}"
        use = f"use {spelling(name, control)}" if name in OWNED else REFUSED[name]
        yield f"{name}: {show(value)} would do nothing: {why}; {use}"


def idle_fields(control: Control) -> Iterator[tuple[str, str]]:
    """(field that has nothing left to act on, why)"""
    objective = control.template
    has = {"any": "it has no effect here"}
    if not objective.loss.term.delegated:
        has["loss"] = f"objective.loss is {objective.loss.term.info.name}, which TRL does not compute"
    if objective.advantages:
        has["advantages"] = f"objective.advantages begins with {objective.advantages[0].term.info.name}"
    if reads_reference(control):
        has["reference"] = "the objective compares with the reference itself"
    if objective.scalar("temperature") is not None:
        has["temperature"] = "objective.scalars.temperature moves it"
    return ((field, why) for part, why in has.items() for field in IDLE[part])


def spelling(name: str, control: Control) -> str:
    """How the objective says it, by the term that it has where that one can."""
    objective, use = control.template, OWNED[name]
    if name == "temperature":
        return "objective.scalars.temperature"
    for place, part, option in (
        ("objective.loss.trl.", objective.loss, use.rpartition(".")[2]),
        ("objective.advantages.grpo.", next(iter(objective.advantages), None), "scale"),
    ):
        if use.startswith(place) and part is not None and option in part.options:
            return use.replace(place, f"{place.rpartition('.')[0].rpartition('.')[0]}.{part.name}.")
    return use


def check_supported(control: Control) -> None:
    """Refuse the combinations that would train something else than what the recipe says. Raises ValueError."""
    objective = control.template
    first = next(iter(objective.advantages), None)
    if first is not None and first.term.reshapes:
        raise ValueError(
            f"objective.advantages.{first.name}: reshapes the advantages of the term before it, and there is none; put a "
            "base estimator first, such as grpo"
        )
    parts = [part for part in objective.parts if part not in objective.advantages]
    known = {*SIGNALS, *(f"{part.name}/{metric}" for part in parts for metric in part.term.info.provides)}
    for knob in control.knobs:
        for signal in sorted(set(knob.controller.signals) - known):
            raise ValueError(f"objective.{knob.path}: nothing measures {signal!r}; {nearest(signal, known)}")
    heated = objective.scalar("temperature") is not None
    if heated and "lse" in objective.needs | objective.rollout_needs:
        name = next(part.name for part in objective.parts if "lse" in part.needs | part.rollout_needs)
        raise ValueError(
            f"objective.scalars.temperature: {name} compares temperatures of its own with a constant one. Set "
            "sampler.temperature instead."
        )
    sampler = objective.sampler
    if sampler is not None and sampler.term.replaces:
        readers = [objective.loss] if "sampler_logps" in objective.loss.needs else []
        others = [p.name for p in (*objective.weights, *objective.penalties, *readers) if p.name != sampler.name]
        if others or reads_reference(control):
            raise ValueError(
                f"objective.penalties.{sampler.name}.reference: true replaces rows of the generation after the other "
                f"terms have measured it, which {others[0] if others else 'the reference policy'} would not notice. "
                "Set it to false, or keep this term alone."
            )
    if len(correctors := objective.sampler_correctors) > 1:
        raise ValueError(
            f"objective: {correctors[0].name} and {correctors[1].name} both carry the ratio of trainer to sampler, and every "
            "token would be weighted by it twice; keep one of them"
        )
    loss = objective.loss.term
    if loss.delegated and loss.by_sequence and objective.weights:
        raise ValueError(
            f"objective.loss.trl.importance_sampling_level: 'sequence' with the token weight "
            f"{objective.weights[0].name!r}: one ratio per sequence leaves every token the same gradient, weight 0 "
            "included. Use 'token', or drop the weight."
        )
