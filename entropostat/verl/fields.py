"""How a generation's numbers travel from the driver to the workers: per-token fields beside verl's own, and what is one number for
the whole generation.

    statistics of a term, (N, T) or (N,)   a field  entropostat/<type>/<term>/<key>
    uids, (N,)                             a field  entropostat/I/./uids
    knob values, statistics of one number  in ``batch.extra_info[GENERATION]``

verl moves fields through its TransferQueue by sequence, so that they follow a sequence into whichever micro-batch it comes. All are
per token, as verl's own are: what is one number a sequence stands at each of its tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from entropostat.rl.batch import Stats

GENERATION = "entropostat"
STAT = "entropostat/"
BATCH = "."
"""In a term's place, whose name it cannot be: what belongs to none of them."""
UIDS = f"{STAT}I/{BATCH}/uids"
VERLS = {
    "old_logps": "old_log_probs",
    "sampler_logps": "rollout_log_probs",
    "ref_logps": "ref_log_prob",
    "old_entropy": "entropy",
}
"""Batch field -> verl's per-token field."""
KINDS = {"b": torch.bool, "i": torch.int64, "f": None}
"""Letter of a field -> its dtype; a capital stands for one number a sequence."""


def is_stat(key: Any) -> bool:
    return isinstance(key, str) and key.startswith(STAT)


def split(stats: Mapping[str, Stats], rows: int) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Statistics of the terms as fields, (rows, T) or (rows,) each, and as constants, term -> key -> number."""
    fields: dict[str, Tensor] = {}
    constants: dict[str, dict[str, Any]] = {}
    for term, own in stats.items():
        for key, value in own.items():
            if value.dim():
                if value.shape[0] != rows:
                    raise ValueError(f"{term}: its statistic {key!r} has {value.shape[0]} rows, not {rows}")
                kind = "b" if value.dtype is torch.bool else "f" if value.is_floating_point() else "i"
                letter = kind if value.dim() > 1 else kind.upper()
                fields[f"{STAT}{letter}/{term}/{key}"] = value.to(torch.uint8) if kind == "b" else value
            else:
                constants.setdefault(term, {})[key] = value.item()
    return fields, constants


def stats_of(padded: TensorDict) -> dict[str, dict[str, Tensor]]:
    """Statistics of the terms, from fields of padded tensors; under ``BATCH`` what belongs to none of them."""
    stats: dict[str, dict[str, Tensor]] = {}
    for name in filter(is_stat, padded.keys()):
        letter, term, key = name.removeprefix(STAT).split("/", 2)
        value = padded[name] if letter.islower() else padded[name][:, 0]
        dtype = KINDS[letter.lower()]
        stats.setdefault(term, {})[key] = value if dtype is None else value.to(dtype)
    return stats
