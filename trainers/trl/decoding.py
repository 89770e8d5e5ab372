"""What stands between the policy and its completions: where they end, and what changes the distribution they come from.

transformers' generate fills in from the model's own generation config what TRL's leaves None. TRL sets temperature, top_p, top_k,
repetition_penalty, do_sample, length, padding and end tokens. The rest is in force as the model has it, but for min_p, which is
off where no argument sets it, like the four beside it. vLLM and continuous batching see nothing of the model's config.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import GenerationConfig

from entropostat.recipe.errors import show
from entropostat.recipe.generation_keys import TRANSFORMERS
from entropostat.recipe.generation_rules import BIAS, ENDS, Backend, backend, beyond_engine, biasing, given, unworkable
from entropostat.trainers.model.vocabulary import innermost
from entropostat.trainers.trl.stops import stop_tokens, together

log = logging.getLogger(__name__)

ARGUMENTS = {"temperature": "temperature", "num_return_sequences": "num_generations", "n": "num_generations"}
"""Keys of generation_kwargs that would contradict an argument of the trainer, which counts on it."""


def check_generation_kwargs(args: Any) -> None:
    """Raises ValueError for what would break the run, contradict an argument, or do nothing."""
    by, values = backend(vars(args)), given(args.generation_kwargs)
    if said := beyond_engine(args.temperature, by):
        raise ValueError(f"temperature: {said}")
    if by == "continuous" and values.get("repetition_penalty", args.repetition_penalty) not in (None, 1):
        raise ValueError(
            "repetition_penalty: continuous batching leaves it out; set it to 1, or do without the batching"
        )
    for name, value in values.items():
        said, argument = unworkable(name, value, by), ARGUMENTS.get(name)
        allowed = (None, args.temperature) if name == "temperature" else (None, 1)
        if said is None and argument is not None and value not in allowed:
            said = f"{show(value)} contradicts {argument}, {show(getattr(args, argument))}; set {argument} alone"
        if said is not None:
            raise ValueError(f"generation_kwargs.{name}: {said}")


def settle_decoding(trainer: Any, stop: Sequence[int | str]) -> dict[str, Any]:
    """Once TRL has read its arguments. ``stop``: that key of a recipe's sampler block; ``eos_token_id`` in
    ``generation_kwargs``, for vLLM ``stop_token_ids``, says the same: each of them is one more end.

    Returns fields of a GenerationConfig that evaluation applies, because training does. vLLM has its own: it evaluates too.
    """
    by, values = backend(vars(trainer.args)), given(trainer.args.generation_kwargs)
    _end_at(trainer, stop, values)
    own = innermost(trainer.model).generation_config
    if by == "transformers":
        _settle_inherited(trainer, own)
    inherited = own if by == "transformers" else None
    in_force = values if by == "vllm" else _in_force(trainer.generation_config, inherited)
    bias = {name: in_force[name] for name in biasing(in_force, by)}
    if trainer.accelerator.is_main_process:
        _warn(bias, values, own, by)
    return {} if by == "vllm" else bias


def _end_at(trainer: Any, stop: Sequence[int | str], values: Mapping[str, Any]) -> None:
    """One list of ends for generation, masks, truncation and the penalty for not ending."""
    tokenizer = trainer._tokenizer
    own = [i for i in trainer.eos_token_ids if i is not None]
    asked = [stop_tokens(values.get(name), tokenizer, f"generation_kwargs.{name}") for name in ENDS]
    trainer.eos_token_ids = together(own, *asked, stop_tokens(stop, tokenizer))
    if trainer.use_vllm:  # which knows what the files of the model say, and nothing else
        passed = {name: value for name, value in values.items() if name not in (*ENDS, "temperature")}
        trainer.vllm_generation.generation_kwargs = {**passed, "stop_token_ids": trainer.eos_token_ids}
    else:
        trainer.generation_config.eos_token_id = trainer.generation_kwargs["eos_token_id"] = trainer.eos_token_ids


def _settle_inherited(trainer: Any, own: GenerationConfig) -> None:
    """min_p off; ValueError for a key of the model's that would end the run at its first generation."""
    for name, key in TRANSFORMERS.items():
        value = getattr(own, name, None)
        if getattr(trainer.generation_config, name, None) is not None or not key.acts(value):
            continue
        if name == "min_p":
            trainer.generation_config.min_p = trainer.generation_kwargs["min_p"] = 0.0
        elif key.kind == "breaks" or name in ("stop_strings", "num_return_sequences"):
            why = f"use {key.why} and take it out" if key.kind in ("stop", "elsewhere") else key.why
            raise ValueError(f"the model's generation_config.{name} cannot stand (value {show(value)}): {why}")


def _in_force(ours: GenerationConfig, own: GenerationConfig | None) -> dict[str, Any]:
    """Every field as generate sees it."""
    chosen = {name: getattr(ours, name, None) for name in TRANSFORMERS}
    return {name: getattr(own, name, None) if value is None else value for name, value in chosen.items()}


def _warn(bias: Mapping[str, Any], values: Mapping[str, Any], own: GenerationConfig, by: Backend) -> None:
    """A line for each key that changes the distribution, and for each of the model's that is left out."""
    models = {name: value for name in TRANSFORMERS if (value := getattr(own, name, None)) is not None}
    for name, value in bias.items():
        if name in values:
            log.warning("generation_kwargs.%s (value %s) %s", name, show(value), BIAS)
        elif name in models:
            fix = "take it out of generation_config.json, or give another value in generation_kwargs"
            log.warning("the model's generation_config.%s (value %s) %s; %s", name, show(value), BIAS, fix)
    for name in biasing(models, "transformers") if by != "transformers" else ():
        who = "vLLM" if by == "vllm" else "continuous batching"
        log.warning("the model's generation_config.%s (value %s) is not applied by %s", name, show(models[name]), who)
