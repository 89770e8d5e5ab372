"""Conditions between fields of the trainer block: what TRL or torch would refuse later, or what would do nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from entropostat.recipe.errors import show
from entropostat.recipe.ranges import misplaced
from entropostat.recipe.trainer_ranges import PARSED

Read = Callable[[str], Any]
"""A field as the recipe states it, else TRL's default."""

ON_THE_HUB = ("hub_model_id", "hub_private_repo", "hub_revision")
OF_TRACKIO = ("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")
OF_WORKERS = ("dataloader_prefetch_factor", "dataloader_persistent_workers", "dataloader_multiprocessing_context")


def broken(stated: Mapping[str, Any], read: Read, bf16: bool, trackio: bool) -> Iterator[tuple[str, str]]:
    """(field, message). ``bf16``: what the model's type makes of a recipe that does not say; ``trackio``: whether the tracking
    block speaks of it.
    """
    yield from _unparsable(stated)
    yield from _contradictions(stated, read, bf16)
    yield from _idle(stated, read, trackio)


def _unparsable(stated: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in PARSED:
        text = stated.get(name)
        if not isinstance(text, str) or (name == "accelerator_config" and not text.startswith("{")):
            continue  # that one may be a file
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            yield name, f"must be a mapping, or one as JSON text, not {show(text)}"
        for below, allowed in misplaced(content, None):
            yield name, f"{'.'.join(below)} must be {allowed}, not {show(text)}"


def _contradictions(stated: Mapping[str, Any], read: Read, bf16: bool) -> Iterator[tuple[str, str]]:
    if read("fp16") and stated.get("bf16", bf16):
        yield "fp16", "true contradicts bfloat16, which trainer.bf16 or model.dtype asks for; keep one of them"
    low, high = read("vllm_importance_sampling_clip_min"), read("vllm_importance_sampling_clip_max")
    if low is not None and high is not None and low >= high:
        key = "min" if "vllm_importance_sampling_clip_min" in stated else "max"
        yield f"vllm_importance_sampling_clip_{key}", f"the least, {low:g}, must lie below the largest, {high:g}"
    mode = read("vllm_importance_sampling_mode")
    if mode.endswith("_truncate") and low is None and high is None and read("vllm_importance_sampling_correction"):
        yield "vllm_importance_sampling_mode", f"{mode} needs vllm_importance_sampling_clip_min or _max"
    if read("log_completions_hub_repo") is not None and not read("log_completions"):
        yield "log_completions_hub_repo", "needs log_completions: true"
    for name in OF_WORKERS if not read("dataloader_num_workers") else ():
        if stated.get(name):
            yield name, f"{show(stated[name])} needs dataloader_num_workers of at least 1"


def _idle(stated: Mapping[str, Any], read: Read, trackio: bool) -> Iterator[tuple[str, str]]:
    """A switch that the recipe names, be it to turn it off, explains what then rests."""
    for names, switch, on in (
        (ON_THE_HUB, "trainer.push_to_hub: true", "push_to_hub" in stated),
        (OF_TRACKIO, "tracking.trackio: {}", trackio),
    ):
        for name in names if not on else ():
            if stated.get(name) not in (None, False):
                yield name, f"{show(stated[name])} does nothing without {switch}; add that, or leave it out"
