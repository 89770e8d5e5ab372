"""What may stand in ``trainer.generation_kwargs``, by what generates, and what of it changes the distribution."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from entropostat.recipe.errors import nearest, show
from entropostat.recipe.generation_keys import COUNTERPARTS, TRANSFORMERS, VLLM, Key

Backend = Literal["transformers", "continuous", "vllm"]
"""Who generates: transformers' generate, its continuous batching, or vLLM."""

ENDS = ("eos_token_id", "stop_token_ids")
"""Token ids that end a completion, by transformers' name and by vLLM's."""
ENGINE_TEMPERATURES = (0.01, 2.0)
"""What vLLM samples at, from and to. At a lower one it takes the first, and says so in a log of its own; a higher one it refuses."""
BIAS = "biases the ratio: completions come from a changed distribution, log-probs from the whole one"


def backend(trainer: Mapping[str, Any]) -> Backend:
    """Of the fields of TRL's config."""
    if trainer.get("use_vllm"):
        return "vllm"
    return "continuous" if trainer.get("use_transformers_continuous_batching") else "transformers"


def given(value: Any) -> dict[str, Any]:
    """``generation_kwargs`` as a mapping: TRL takes JSON text as well."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return {}  # TRL says what is wrong with it
    return dict(value) if isinstance(value, Mapping) else {}


def key_of(name: str, by: Backend) -> Key | None:
    table, other = (VLLM, TRANSFORMERS) if by == "vllm" else (TRANSFORMERS, VLLM)
    return table.get(name) or (other[name] if name in ENDS else None)


def refusal(name: str, value: Any, by: Backend) -> str | None:
    """Why a recipe cannot say this, and what to write instead."""
    key = key_of(name, by)
    if key is not None and key.kind in ("elsewhere", "stop") and key.acts(value):
        return f"belongs to another block (value {show(value, name)}); use {key.why}"
    return unworkable(name, value, by)


def unworkable(name: str, value: Any, by: Backend) -> str | None:
    """Why nobody can say this, in Python neither: it would break the run, or do nothing and say nothing."""
    key, said = key_of(name, by), f"(value {show(value, name)})"
    if key is None:
        return _unknown(name, said, by)
    if not key.acts(value):
        return None
    if key.kind == "stop" and name not in ENDS:
        return f"cannot be set {said}: only single tokens end a completion for masks and rewards too; use {key.why}"
    if key.kind in ("breaks", "inert"):
        return f"cannot be set {said}: {key.why}"
    if by == "continuous" and key.kind == "distribution" and not key.tokenwise:
        return f"cannot be set {said}: continuous batching leaves it out; leave either out"
    return None


def _unknown(name: str, said: str, by: Backend) -> str | None:
    if by == "vllm":
        if name not in TRANSFORMERS:
            return None  # vLLM may be newer than our table
        own = COUNTERPARTS.get(name)
        return f"is transformers' name {said}, and vLLM generates; {f'use {own}' if own else 'leave it out'}"
    if name in VLLM:
        own = next((ours for ours, theirs in COUNTERPARTS.items() if theirs == name), None)
        return f"is vLLM's name {said}, and transformers generates; {f'use {own}' if own else 'leave it out'}"
    return f"unknown key {name!r} {said}, which would do nothing; {nearest(name, TRANSFORMERS)}"


def beyond_engine(value: float, by: Backend) -> str | None:
    """Why nothing can be drawn at this temperature."""
    low, high = ENGINE_TEMPERATURES
    return None if by != "vllm" or low <= value <= high else f"{value:g}: vLLM samples at {low:g} to {high:g}"


def biasing(values: Mapping[str, Any], by: Backend) -> dict[str, Key]:
    """Those of ``values`` that change the distribution, as things stand."""
    keys = {}
    for name, value in values.items():
        key = key_of(name, by)
        if key is None or key.kind != "distribution" or not key.acts(value):
            continue
        if not key.beside or TRANSFORMERS[key.beside].acts(values.get(key.beside)):
            keys[name] = key
    return keys


def unsupported(by: Backend) -> str:
    """Why a key of the sampler block that only transformers' generate has cannot stand with ``by``."""
    if by == "vllm":
        return "vLLM has no such sampler; use sampler.min_p or sampler.top_p, or set trainer.use_vllm: false"
    key = "trainer.use_transformers_continuous_batching"
    return f"continuous batching leaves it out; use sampler.min_p or sampler.top_p, or set {key}: false"
