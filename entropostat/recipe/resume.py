"""May a run go on from its checkpoint with this recipe? Compares what the two recipes mean, defaults filled in.

- Where it runs, how long, and what it records may change: ``FREE``.
- So may a number of the objective, which acts from the next step on: ``Changes.steered``.
- Everything else would make another run of it, or would silently have no effect, as a learning rate that the optimizer's
  saved state overrides: ``Changes.refused``.

``fingerprint`` is the same for two recipes of which one may go on from the checkpoints of the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import xxhash

from entropostat.catalog import load
from entropostat.recipe.errors import show
from entropostat.recipe.owned import NOT_IN_TRAINER
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.terms import Term

FREE = frozenset(
    {
        *("evaluate", "launch", "slurm", "tracking", "model.peft.merge"),
        *("model.attn_implementation", "teacher.attn_implementation"),
    }
)
"""Blocks and keys that say where a run takes place and what it records. Name and output folder found the checkpoint."""
FREE_TRAINER = frozenset(
    {
        # how long, and what is kept
        "max_steps", "num_train_epochs", "save_steps", "save_strategy", "save_total_limit", "save_on_each_node",
        # where results go
        "push_to_hub", "hub_model_id", "hub_private_repo", "hub_revision", "hub_token",
        "log_completions", "log_completions_hub_repo", "log_level", "log_level_replica", "log_multimodal",
        "log_on_each_node", "log_unique_prompts", "logging_first_step", "disable_tqdm", "skip_memory_metrics", "debug",
        "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id", "include_num_input_tokens_seen",
        # memory, speed and addresses
        "activation_checkpointing", "activation_checkpointing_kwargs", "gradient_checkpointing",
        "dataloader_num_workers", "dataloader_persistent_workers", "dataloader_pin_memory", "dataloader_prefetch_factor",
        "ddp_backend", "ddp_broadcast_buffers", "ddp_bucket_cap_mb", "ddp_find_unused_parameters", "ddp_static_graph",
        "ddp_timeout", "ds3_gather_for_generation", "torch_compile", "torch_compile_backend", "torch_compile_mode",
        "torch_empty_cache_steps", "use_cpu", "vllm_enable_sleep_mode", "vllm_gpu_memory_utilization", "vllm_group_port",
        "vllm_server_base_url", "vllm_server_host", "vllm_server_port", "vllm_server_timeout",
        "vllm_tensor_parallel_size",
    }
)  # fmt: skip
LATER = ("rewards", "data")
"""Slots that the first checkpoints do not know: empty, they are no other recipe."""
PLACES = frozenset({("verifiers", "function", "folder")})
"""Slot, kind and key of what only says where something lies: a batch job has a copy of its own."""
ABSENT = object()
ORDER, KIND = "<order>", "<kind>"
"""Keys of ``meaning`` that no recipe can have."""


@dataclass(frozen=True)
class Change:
    """One key, with what it was and what it is."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        words = ["not there" if value is ABSENT else show(value) for value in (self.before, self.now)]
        return f"{self.key} was {words[0]} and is {words[1]}"


@dataclass(frozen=True)
class Changes:
    """What differs between two recipes beyond ``FREE``."""

    refused: tuple[Change, ...]
    steered: tuple[Change, ...]


def changes(before: Recipe, now: Recipe, step: int) -> Changes:
    """``before`` is the recipe of the run, ``step`` the one that its checkpoint has reached."""
    refused: list[Change] = []
    steered: list[Change] = []
    for change in _differences(meaning(before, step), meaning(now, step), ""):
        numbers = _number(change.before) and _number(change.now)
        (steered if numbers and change.key.startswith("objective.") else refused).append(change)
    return Changes(tuple(refused), tuple(steered))


def fingerprint(recipe: Recipe, step: int) -> str:
    """Of all that a run which has reached ``step`` may not change, for the checkpoint's manifest.

    What the recipe leaves to a default stays out: an option that a later release adds is no other recipe.
    """
    kept = meaning(recipe, step, filled=False)
    kept["objective"] = _without_numbers(kept["objective"])
    return xxhash.xxh3_128_hexdigest(json.dumps(kept, sort_keys=True, default=str).encode())


def meaning(recipe: Recipe, step: int, filled: bool = True) -> dict[str, Any]:
    """Nested plain values of all keys that are compared: with ``filled``, also those that the recipe leaves to a default."""
    teacher = ["teacher"] if recipe.teacher.stated else []
    blocks = ("model", *teacher, "data", "critic", "optimizer", "sampler", "shaping")
    facts: dict[str, Any] = {"seed": recipe.seed}
    facts |= {name: getattr(recipe, name).model_dump(exclude_defaults=not filled) for name in blocks}
    for name in ("model", "teacher"):
        facts.get(name, {}).pop("attn_implementation", None)
    (facts["model"].get("peft") or {}).pop("merge", None)
    facts["data"].pop("unread", None)  # what is looked at before the run begins
    facts["data"]["sources"] = {name: _term("sources", term, filled) for name, term in recipe.sources.items()}
    facts["data"]["curriculum"] = reached(recipe, step)
    if recipe.kind != "ppo":
        facts.pop("critic")
    facts["reward"] = _terms("verifiers", recipe.reward, filled)
    slots = {slot: terms if isinstance(terms, list) else [terms] for slot, terms in recipe.objective.items()}
    facts["objective"] = {
        slot: _terms(slot, terms, filled) for slot, terms in slots.items() if filled or terms or slot not in LATER
    }
    fields = [f for f in load().trainer[recipe.kind] if f.name not in NOT_IN_TRAINER | FREE_TRAINER]
    stated = {f.name: recipe.trainer.get(f.name, f.default) for f in fields}
    kept = {f.name: stated[f.name] for f in fields if filled or stated[f.name] != f.default}
    facts["trainer"] = {"kind": recipe.kind, **kept}
    return facts


def reached(recipe: Recipe, step: int) -> list[tuple[str | dict[str, float], int]] | None:
    """The stages of the curriculum up to ``step``: those to come may change."""
    if recipe.data.curriculum is None:
        return None
    stages: list[tuple[str | dict[str, float], int]] = []
    for stage in recipe.data.curriculum:
        if step > 0:
            stages.append((stage.source, min(stage.steps, step)))
        step -= stage.steps
    return stages


def _terms(slot: str, terms: list[Term], filled: bool) -> dict[str, Any]:
    """By name; their order counts too, because it is the order in which they are applied."""
    return {ORDER: [term.name for term in terms], **{term.name: _term(slot, term, filled) for term in terms}}


def _term(slot: str, term: Term, filled: bool) -> dict[str, Any]:
    """Its kind and its options, a controller as ``{kind: options}``."""
    stated: dict[str, Any] = {KIND: term.kind}
    for field in load().terms[slot][term.kind].fields:
        value = term.options.get(field.name, field.default)
        if (slot, term.kind, field.name) in PLACES or (not filled and value == field.default):
            continue
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in load().terms["controllers"]:
            (kind, options), *_ = value.items()
            value = {kind: _term("controllers", Term("", kind, options or {}), filled)}
        stated[field.name] = value
    return stated


def _without_numbers(value: Any) -> Any:
    """What is left of the objective where its numbers may be steered."""
    if not isinstance(value, dict):
        return value
    return {key: _without_numbers(below) for key, below in value.items() if not _number(below)}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _differences(before: Any, now: Any, key: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(now, dict) and (before.keys() & now.keys() or not {**before, **now}):
        for first in (ORDER, KIND):  # what follows from another list or another term would only fill the line
            if before.get(first) != now.get(first):
                yield Change(key, before[first], now[first])
                return
        for name in dict.fromkeys([*before, *now]):
            below = f"{key}.{name}" if key else name
            yield from _differences(before.get(name, ABSENT), now.get(name, ABSENT), below)
    elif before != now:
        yield Change(key, _brief(before), _brief(now))


def _brief(value: Any) -> Any:
    """A term or a controller by its name alone."""
    if isinstance(value, Mapping) and (KIND in value or len(value) == 1):
        return value.get(KIND, next(iter(value)))
    return value
