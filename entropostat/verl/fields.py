"""How a generation's numbers travel from the driver to the workers: per-token fields beside verl's own, and what is one number for
the whole generation.

    statistics of a term, (N, T) or (N,)   a field  entropostat/<type>/<term>/<key>
    uids, (N,)                             a field  entropostat_uid
    knob values, statistics of one number  in ``batch.extra_info[GENERATION]``

verl moves fields through its TransferQueue by sequence, so that they follow a sequence into whichever micro-batch it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from entropostat.rl.batch import Stats

GENERATION = "entropostat"
UIDS = "entropostat_uid"
STAT = "entropostat/"
VERLS = {
    "old_logps": "old_log_probs",
    "sampler_logps": "rollout_log_probs",
    "ref_logps": "ref_log_prob",
    "old_entropy": "entropy",
}
"""Batch field -> verl's per-token field."""
KINDS = {"b": torch.bool, "i": torch.int64, "f": None}


def is_stat(key: Any) -> bool:
    return isinstance(key, str) and key.startswith(STAT)


def split(stats: Mapping[str, Stats], rows: int) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Statistics of the terms as fields, (rows, ...) each, and as constants, term -> key -> number."""
    fields: dict[str, Tensor] = {}
    constants: dict[str, dict[str, Any]] = {}
    for term, own in stats.items():
        for key, value in own.items():
            if value.dim():
                if value.shape[0] != rows:
                    raise ValueError(f"{term}: its statistic {key!r} has {value.shape[0]} rows, not {rows}")
                kind = "b" if value.dtype is torch.bool else "f" if value.is_floating_point() else "i"
                fields[f"{STAT}{kind}/{term}/{key}"] = value.to(torch.uint8) if kind == "b" else value
            else:
                constants.setdefault(term, {})[key] = value.item()
    return fields, constants


def stats_of(padded: TensorDict) -> dict[str, dict[str, Tensor]]:
    """Statistics of the terms, from fields of padded tensors."""
    stats: dict[str, dict[str, Tensor]] = {}
    for name in filter(is_stat, padded.keys()):
        kind, term, key = name.removeprefix(STAT).split("/", 2)
        dtype = KINDS[kind]
        stats.setdefault(term, {})[key] = padded[name] if dtype is None else padded[name].to(dtype)
    return stats
