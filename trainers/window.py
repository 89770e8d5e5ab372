"""What one accumulation window measures: sums and counts, reduced over ranks once per optimizer step."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reduce import Reducer, rank_of, world_of
from entropostat.trainers.signals import extremes, token_sums


class Window:
    """Accumulates 0-dim tensors without a device synchronisation until the window closes."""

    def __init__(self, wanted: frozenset[str] = frozenset()) -> None:
        self._wanted = wanted
        self._extremes: list[Tensor] = []
        self._names: tuple[str, ...] = ()
        self._sums: Tensor | None = None
        self._metrics: dict[str, list[Tensor]] = {}
        self._pools: dict[str, Tensor] = {}
        self._peaks: dict[str, Tensor] = {}
        self.signals: dict[str, float] = {}
        """Of the window that closed last, like the next three."""
        self.tokens = 0.0
        self.pooled: dict[str, list[float]] = {}
        self.peaked: dict[str, list[float]] = {}

    def add(self, batch: TokenBatch, metrics: Mapping[str, Tensor]) -> None:
        """One micro-batch: its token sums for the signals, and the metrics of its terms."""
        self._names, sums = token_sums(batch, self._wanted)
        if self._wanted & {"ratio_max", "ratio_min"}:
            self._extremes.append(extremes(batch))
        self._sums = sums if self._sums is None else self._sums + sums
        for name, value in metrics.items():
            self._metrics.setdefault(name, []).append(value)

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
        names, sums, metrics = self._names, self._sums, self._metrics
        self._names, self._sums, self._metrics = (), None, {}
        columns = [torch.tensor([float(stop)], dtype=torch.float64, device=None if sums is None else sums.device)]
        if sums is not None:
            columns.append(sums)
        if metrics:
            columns += sums_and_counts(list(metrics.values()))
        world = world_of(reducer)
        pools, peaks, self._pools, self._peaks = self._pools, self._peaks, {}, {}
        columns += [values.double().flatten() for values in pools.values()]
        columns += [in_place(values, reducer).flatten() for values in peaks.values()]
        asked, *pooled = reducer.sum(torch.cat(columns)).tolist()
        rest = iter(pooled[len(names) + 2 * len(metrics) :])
        self.pooled = {name: list(islice(rest, values.numel())) for name, values in pools.items()}
        self.peaked = {name: [max(islice(rest, world)) for _ in values] for name, values in peaks.items()}
        found = dict(zip(names, pooled, strict=False))
        self.tokens = found.pop("tokens", 0.0)
        tokens, rows = max(self.tokens, 1.0), max(found.pop("rows", 1.0), 1e-12)
        means = {name: total / (rows if name == "entropy_seq" else tokens) for name, total in found.items()}
        if self._extremes:
            largest = reducer.gather(torch.stack(self._extremes)).amax(0).exp().tolist()
            means |= {"ratio_max": largest[0], "ratio_min": 1 / largest[1]}
            self._extremes = []
        totals = pooled[len(names) : len(names) + len(metrics)]
        counts = pooled[len(names) + len(metrics) : len(names) + 2 * len(metrics)]
        averages = {
            name: total / count if count else float("nan")
            for name, total, count in zip(metrics, totals, counts, strict=True)
        }
        self.signals = means
        return means, averages, asked > 0


def in_place(values: Tensor, reducer: Reducer) -> Tensor:
    """(K,) -> (K, ranks), 0 but in this rank's column: with a sum over ranks every rank has the values of all."""
    table = values.new_zeros(len(values), world_of(reducer))
    table[:, rank_of(reducer)] = values
    return table


def sums_and_counts(series: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
    """Sum and count of the finite values of each series, all at once: a short one is filled up with what is skipped."""
    longest = max(map(len, series))
    absent = series[0][0].new_full((), torch.nan)
    filled = [value for values in series for value in (*values, *[absent] * (longest - len(values)))]
    table = torch.stack(filled).double().view(len(series), longest)
    present = torch.isfinite(table)
    return torch.where(present, table, 0.0).sum(1), present.sum(1).double()
