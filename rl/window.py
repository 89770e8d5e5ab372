"""What one accumulation window measures: sums and counts, reduced over ranks once per optimizer step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.measured import Ledger, in_place
from entropostat.rl.reduce import LOCAL, Reducer, world_of
from entropostat.rl.signal_sums import extremes, token_sums
from entropostat.rl.term import Loss


@dataclass(frozen=True)
class Closed:
    """What a window has measured, equal on every rank; NaN where it had nothing to measure."""

    signals: dict[str, float]
    metrics: dict[str, float]
    """Of the terms."""
    stop: bool
    """Whether any rank asks to stop."""
    tokens: float
    counts: list[float]
    """Tokens of each micro-batch, over all ranks; ``tokens`` is their sum."""
    pooled: dict[str, list[float]]
    peaked: dict[str, list[float]]


class Window:
    """Accumulates 0-dim tensors without a device synchronisation until it closes, and begins anew."""

    def __init__(self, wanted: frozenset[str] = frozenset()) -> None:
        self._wanted = wanted
        self._extremes: list[Tensor] = []
        self._names: tuple[str, ...] = ()
        self._sums: list[Tensor] = []
        self._ledger = Ledger()
        self._pools: dict[str, Tensor] = {}
        self._peaks: dict[str, Tensor] = {}

    def add(self, batch: TokenBatch, metrics: Mapping[str, Tensor], loss: Loss | None = None) -> None:
        """One micro-batch: its token sums for the signals, and the metrics of its terms. ``loss`` says what it clips."""
        bounded = None
        if "clip_fraction" in self._wanted and loss is not None and loss.holds != "nothing":
            bounded = loss.bounded(batch)
        self._names, sums = token_sums(batch, self._wanted, bounded)
        if self._wanted & {"ratio_max", "ratio_min"}:
            self._extremes.append(extremes(batch))
        self._sums.append(sums)
        self._ledger.add(metrics)

    def pool(self, name: str, values: Tensor) -> None:
        """Numbers, in any order that is the same on all ranks, to add up over micro-batches and ranks."""
        before = self._pools.get(name)
        self._pools[name] = values if before is None else before + values

    def peak(self, name: str, values: Tensor) -> None:
        """(K,) float64 of which the largest over micro-batches and ranks are wanted."""
        before = self._peaks.get(name)
        self._peaks[name] = values if before is None else torch.maximum(before, values)

    def close(self, reducer: Reducer = LOCAL, stop: bool = False) -> Closed:
        """One collective and one copy. ``stop``: whether this rank asks to."""
        names, sums = self._names, self._sums
        self._names, self._sums = (), []
        columns = [torch.tensor([float(stop)], dtype=torch.float64, device=sums[0].device if sums else None)]
        if sums:
            parts = torch.stack(sums)
            columns += [parts.sum(0), parts[:, names.index("tokens")]]
        columns += self._ledger.columns(reducer)
        world = world_of(reducer)
        pools, peaks, self._pools, self._peaks = self._pools, self._peaks, {}, {}
        columns += [values.double().flatten() for values in pools.values()]
        columns += [in_place(values, reducer).flatten() for values in peaks.values()]
        numbers = iter(reducer.sum(torch.cat(columns)).tolist())
        asked = next(numbers)
        totals = dict(zip(names, islice(numbers, len(names)), strict=True))
        counts = list(islice(numbers, len(sums)))
        metrics = self._ledger.read(numbers, world)
        pooled = {name: list(islice(numbers, values.numel())) for name, values in pools.items()}
        peaked = {name: [max(islice(numbers, world)) for _ in values] for name, values in peaks.items()}
        tokens, rows = totals.pop("tokens", 0.0), totals.pop("rows", 0.0)
        signals = {name: quotient(total, rows if name == "entropy_seq" else tokens) for name, total in totals.items()}
        if self._extremes:
            signals |= _ratios(self._extremes, reducer, tokens)
            self._extremes = []
        return Closed(signals, metrics, asked > 0, tokens, counts, pooled, peaked)


def _ratios(extremes: list[Tensor], reducer: Reducer, tokens: float) -> dict[str, float]:
    largest = reducer.gather(torch.stack(extremes)).amax(0).exp().tolist()
    ends = (largest[0], 1 / largest[1]) if tokens else (math.nan, math.nan)
    return dict(zip(("ratio_max", "ratio_min"), ends, strict=True))


def quotient(total: float, count: float) -> float:
    """A mean, or NaN where nothing was measured: a 0 would be acted on."""
    return total / count if count else math.nan
