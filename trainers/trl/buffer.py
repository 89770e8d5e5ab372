"""Names in TRL's buffered inputs: those under which ours ride in them, and the statistics of the terms among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

KEY = "entropostat/"
"""Prefix of the keys that we add."""
SAMPLED = "sampling_per_token_logps"
"""TRL's own, of the log-probs under the engine that sampled: there where vLLM or a ``rollout_func`` generates."""


def iteration(trainer: Any) -> int:
    """Which pass over its generation the micro-batch that is trained on belongs to, from 0; in evaluation there is one."""
    if not trainer.model.training:
        return 0
    passes: int = trainer._step // trainer.args.steps_per_generation % trainer.num_iterations
    return passes


def packed(stats: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Statistics of each term, by its name, as keys of the buffer."""
    return {f"{KEY}{name}/{key}": value for name, fields in stats.items() for key, value in fields.items()}


def unpacked(inputs: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The same of one micro-batch."""
    stats: dict[str, dict[str, Tensor]] = {}
    for key, value in inputs.items():
        if key.startswith(KEY) and key.count("/") >= 2:
            name, _, stat = key[len(KEY) :].rpartition("/")
            stats.setdefault(name, {})[stat] = value
    return stats
