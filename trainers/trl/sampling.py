"""Further rollouts of a generation: TRL generates and scores them, and its logs and counters stay as they were.

The only door to a second rollout. Every rank must come through it at the same time and with as many rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def temperature(trainer: Any, value: float) -> Iterator[None]:
    """Inside, completions are sampled at ``value``; log-probs keep the temperature that the trainer was built with."""
    if trainer.use_vllm:
        holders = [(trainer.vllm_generation, "temperature")]
    else:
        holders = [(trainer.generation_config, "temperature")]
    before = [getattr(owner, name) for owner, name in holders]
    overrides = getattr(trainer, "generation_kwargs", {})
    for owner, name in holders:
        setattr(owner, name, value)
    if "temperature" in overrides:
        overrides["temperature"] = value
    try:
        yield
    finally:
        for (owner, name), old in zip(holders, before, strict=True):
            setattr(owner, name, old)
        if "temperature" in overrides:
            overrides["temperature"] = before[0]


@contextmanager
def unlogged(trainer: Any) -> Iterator[None]:
    """Inside, nothing that is generated or scored reaches the metrics, the completions table or the token counter."""
    mode = "train" if trainer.model.training else "eval"
    metrics = {name: list(values) for name, values in trainer._metrics[mode].items()}
    logs, seen = copy.deepcopy(trainer._logs), trainer.state.num_input_tokens_seen
    try:
        yield
    finally:
        trainer._metrics[mode].clear()
        trainer._metrics[mode].update(metrics)
        trainer._logs, trainer.state.num_input_tokens_seen = logs, seen


def whole_groups(rows: int, group: int, share: float) -> int:
    """How many of a rank's ``rows``, from the first, make up about ``share`` of its prompt groups, at least one.

    All of them where groups straddle ranks: a part of the rows would hold a part of a group.
    """
    if rows % group:
        return rows
    return group * max(int(share * (rows // group)), 1)


def resample(
    trainer: Any, generate: Callable[[Any], dict[str, Any]], inputs: list[dict[str, Any]], share: float, at: float
) -> dict[str, Any]:
    """TRL's output for the first prompts of ``inputs``, sampled anew at temperature ``at``.

    ``generate`` is TRL's own method. The reference policy is not asked: nothing compares these rows with it.
    """
    size = trainer.num_generations
    rows = whole_groups(len(inputs), size, share)
    beta, trainer.beta = trainer.beta, 0.0
    try:
        with temperature(trainer, at), unlogged(trainer):
            return generate([dict(row) for row in inputs[:rows]])
    finally:
        trainer.beta = beta
