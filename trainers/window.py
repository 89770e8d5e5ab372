"""What one accumulation window measures: sums and counts, reduced over ranks once per optimizer step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.bounds import Bounded
from entropostat.rl.measured import Ledger, in_place
from entropostat.rl.reduce import Reducer, world_of
from entropostat.rl.term import Holds
from entropostat.trainers.signals import extremes, token_sums


class Bounding(Protocol):
    """A policy loss, as far as its bounds go."""

    @property
    def holds(self) -> Holds: ...

    def bounded(self, batch: TokenBatch) -> Bounded: ...


class Window:
    """Accumulates 0-dim tensors without a device synchronisation until the window closes."""

    def __init__(self, wanted: frozenset[str] = frozenset()) -> None:
        self._wanted = wanted
        self._extremes: list[Tensor] = []
        self._names: tuple[str, ...] = ()
        self._sums: list[Tensor] = []
        self._ledger = Ledger()
        self._pools: dict[str, Tensor] = {}
        self._peaks: dict[str, Tensor] = {}
        self.signals: dict[str, float] = {}
        """Of the window that closed last, like the next four; NaN where it had nothing to measure."""
        self.tokens = 0.0
        self.counts: list[float] = []
        """Tokens of each micro-batch, over all ranks; ``tokens`` is their sum."""
        self.pooled: dict[str, list[float]] = {}
        self.peaked: dict[str, list[float]] = {}

    def add(self, batch: TokenBatch, metrics: Mapping[str, Tensor], loss: Bounding | None = None) -> None:
        """One micro-batch: its token sums for the signals, and the metrics of its terms. ``loss`` says what it clips."""
        asked = "clip_fraction" in self._wanted and loss is not None and loss.holds != "nothing"
        self._names, sums = token_sums(batch, self._wanted, loss.bounded(batch) if asked else None)
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

    def close(self, reducer: Reducer, stop: bool) -> tuple[dict[str, float], dict[str, float], bool]:
        """(signals, metrics, whether any rank asks to stop), equal on every rank: one collective and one copy."""
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
        found = dict(zip(names, islice(numbers, len(names)), strict=True))
        self.counts = list(islice(numbers, len(sums)))
        metrics = self._ledger.read(numbers, world)
        self.pooled = {name: list(islice(numbers, values.numel())) for name, values in pools.items()}
        self.peaked = {name: [max(islice(numbers, world)) for _ in values] for name, values in peaks.items()}
        self.tokens, rows = found.pop("tokens", 0.0), found.pop("rows", 0.0)
        self.signals = {
            name: quotient(total, rows if name == "entropy_seq" else self.tokens) for name, total in found.items()
        }
        if self._extremes:
            largest = reducer.gather(torch.stack(self._extremes)).amax(0).exp().tolist()
            ends = (largest[0], 1 / largest[1]) if self.tokens else (math.nan, math.nan)
            self.signals |= dict(zip(("ratio_max", "ratio_min"), ends, strict=True))
            self._extremes = []
        return self.signals, metrics, asked > 0


def quotient(total: float, count: float) -> float:
    """A mean, or NaN where nothing was measured: a 0 would be acted on."""
    return total / count if count else math.nan
