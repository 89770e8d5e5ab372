"""What one accumulation window measures: sums and counts, reduced over ranks once per optimizer step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reduce import Reducer
from entropostat.trainers.signals import extremes, token_sums


class Window:
    """Accumulates 0-dim tensors without a device synchronisation until the window closes."""

    def __init__(self, wanted: frozenset[str] = frozenset()) -> None:
        self._wanted = wanted
        self._extremes: list[Tensor] = []
        self._names: tuple[str, ...] = ()
        self._sums: Tensor | None = None
        self._metrics: dict[str, list[Tensor]] = {}

    def add(self, batch: TokenBatch, metrics: Mapping[str, Tensor]) -> None:
        """One micro-batch: its token sums for the signals, and the metrics of its terms."""
        self._names, sums = token_sums(batch, self._wanted)
        if self._wanted & {"ratio_max", "ratio_min"}:
            self._extremes.append(extremes(batch))
        self._sums = sums if self._sums is None else self._sums + sums
        for name, value in metrics.items():
            self._metrics.setdefault(name, []).append(value)

    def close(self, reducer: Reducer, stop: bool) -> tuple[dict[str, float], dict[str, float], bool]:
        """(signals, metrics, whether any rank asks to stop), equal on every rank: one collective and one copy."""
        names, sums, metrics = self._names, self._sums, self._metrics
        self._names, self._sums, self._metrics = (), None, {}
        columns = [torch.tensor([float(stop)], dtype=torch.float64, device=None if sums is None else sums.device)]
        if sums is not None:
            columns.append(sums)
        if metrics:
            columns += sums_and_counts(list(metrics.values()))
        asked, *pooled = reducer.sum(torch.cat(columns)).tolist()
        found = dict(zip(names, pooled, strict=False))
        tokens, rows = max(found.pop("tokens", 1.0), 1.0), max(found.pop("rows", 1.0), 1e-12)
        means = {name: total / (rows if name == "entropy_seq" else tokens) for name, total in found.items()}
        if self._extremes:
            largest = reducer.gather(torch.stack(self._extremes)).amax(0).exp().tolist()
            means |= {"ratio_max": largest[0], "ratio_min": 1 / largest[1]}
            self._extremes = []
        totals = pooled[len(names) : len(names) + len(metrics)]
        counts = pooled[len(names) + len(metrics) :]
        averages = {
            name: total / count if count else float("nan")
            for name, total, count in zip(metrics, totals, counts, strict=True)
        }
        return means, averages, asked > 0


def sums_and_counts(series: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
    """Sum and count of the finite values of each series, all at once: a short one is filled up with what is skipped."""
    longest = max(map(len, series))
    absent = series[0][0].new_full((), torch.nan)
    filled = [value for values in series for value in (*values, *[absent] * (longest - len(values)))]
    table = torch.stack(filled).double().view(len(series), longest)
    present = torch.isfinite(table)
    return torch.where(present, table, 0.0).sum(1), present.sum(1).double()
