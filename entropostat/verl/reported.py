"""What a micro-batch measures, through verl's metrics and back: it leaves a worker as sums, counts and extremes, and becomes what
controllers read on the driver.

verl adds metrics up over micro-batches, takes their mean over ranks and over mini-batches, and reduces a key that has "max" or
"min" in it by that instead. A mean is therefore two sums, whose quotient no such mean changes, and names are spelt so that they
hold neither word.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.batch import Metrics, TokenBatch
from entropostat.rl.measured import Largest, Mean, Smallest
from entropostat.rl.signal_sums import extremes, token_sums
from entropostat.rl.term import Loss
from entropostat.rl.window import Closed, quotient

PREFIX = "entropostat/"
SUM, COUNT, TOP = "sum/", "count/", "max/"
SIGNAL, METRIC = "signal/", "term/"
RATIOS = {"ratio_max": "ratio_top", "ratio_min": "ratio_bottom"}


def measured(batch: TokenBatch, metrics: Metrics, wanted: frozenset[str], loss: Loss) -> dict[str, float]:
    """Of one micro-batch, ``batch`` as its loss reads it: numbers under names that say how verl is to reduce them."""
    bounded = loss.bounded(batch) if "clip_fraction" in wanted and loss.holds != "nothing" else None
    names, sums = token_sums(batch, wanted, bounded)
    told: dict[str, Tensor] = {f"{SUM}{SIGNAL}{name}": value for name, value in zip(names, sums, strict=True)}
    if wanted & RATIOS.keys():
        told |= {f"{TOP}{SIGNAL}{end}": x for end, x in zip(RATIOS.values(), extremes(batch), strict=True)}
    for name, value in metrics.items():
        told |= _of_metric(name, value)
    numbers = torch.stack([x.detach().double() for x in told.values()]).tolist()
    return {PREFIX + _spelt(key): number for key, number in zip(told, numbers, strict=True)}


def _of_metric(name: str, value: Tensor) -> dict[str, Tensor]:
    name = METRIC + name
    if isinstance(value, Largest | Smallest):
        signed = value.double() if isinstance(value, Largest) else -value.double()
        side = "top" if isinstance(value, Largest) else "bottom"
        return {f"{TOP}{side}/{name}": torch.where(signed.isnan(), -torch.inf, signed)}
    if isinstance(value, Mean):
        total, count = value.total.double(), value.count.double()
    else:  # a number that is no mean counts once
        total, count = value.double(), torch.ones((), dtype=torch.float64, device=value.device)
    sound = torch.isfinite(total) & (count > 0)
    zero = torch.zeros_like(total)
    return {SUM + name: torch.where(sound, total, zero), COUNT + name: torch.where(sound, count, zero)}


def is_largest(key: str) -> bool:
    """Whether verl must take the largest of the values under ``key``, and not their sum."""
    return _read(key.partition(PREFIX)[2]).startswith(TOP)


def closed(metrics: Mapping[str, Any]) -> Closed:
    """What all micro-batches, ranks and mini-batches have measured together, from verl's reduced metrics."""
    told = {_read(key.partition(PREFIX)[2]): float(value) for key, value in metrics.items() if PREFIX in key}
    sums = {key.removeprefix(SUM): value for key, value in told.items() if key.startswith(SUM)}
    counts = {key.removeprefix(COUNT): value for key, value in told.items() if key.startswith(COUNT)}
    tops = {key.removeprefix(TOP): value for key, value in told.items() if key.startswith(TOP)}
    of_tokens = {key.removeprefix(SIGNAL): value for key, value in sums.items() if key.startswith(SIGNAL)}
    tokens, rows = of_tokens.pop("tokens", 0.0), of_tokens.pop("rows", 0.0)
    signals = {name: quotient(total, rows if name == "entropy_seq" else tokens) for name, total in of_tokens.items()}
    for name, end in RATIOS.items():
        if (log_ratio := tops.pop(SIGNAL + end, None)) is not None:
            sign = 1 if name == "ratio_max" else -1
            signals[name] = math.exp(sign * log_ratio) if tokens else math.nan
    found = {key.removeprefix(METRIC): quotient(sums[key], counts[key]) for key in counts}
    for key, value in tops.items():
        side, _, name = key.partition("/")
        extreme = value if side == "top" else -value
        found[name.removeprefix(METRIC)] = extreme if math.isfinite(extreme) else math.nan
    return Closed(signals, found, stop=False, tokens=tokens, counts=[], pooled={}, peaked={})


def _spelt(key: str) -> str:
    """Without the words by which verl reduces, but for what is to be reduced by one; names of terms hold no tilde."""
    kind, slash, name = key.partition("/")
    return (kind if kind + slash == TOP else kind.replace("m", "~")) + slash + name.replace("m", "~")


def _read(key: str) -> str:
    return key.replace("~", "m")
