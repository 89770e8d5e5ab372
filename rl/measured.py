"""Numbers that know how they add up: over micro-batches, over ranks, over any split of a batch.

A metric is a 0-dim tensor. A ``Mean`` also knows its total and its count, so that the mean of two parts is that of their
tokens and not of their means, and a part that holds none has no say. ``Largest`` and ``Smallest`` are extremes. What is none
of these is the same on every part (a knob, a statistic of the whole generation), or belongs to the micro-batch alone.

Where nothing was measured the value is NaN and never 0: a loop that acts on it would act on nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor

from entropostat.rl.reduce import Reducer, rank_of, world_of


class Mean(Tensor):
    """0-dim: total / count, NaN at count 0. What is computed from it is an ordinary tensor."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    total: Tensor
    count: Tensor

    @staticmethod
    def of(total: Tensor, count: Tensor) -> Mean:
        """``total`` and ``count`` 0-dim, without a graph."""
        return Mean.named(total / count, total, count)

    @staticmethod
    def named(value: Tensor, total: Tensor, count: Tensor) -> Mean:
        """The same, where the quotient is at hand."""
        mean = value.as_subclass(Mean)
        mean.total, mean.count = total, count
        return mean

    @staticmethod
    def over(x: Tensor, chosen: Tensor) -> Mean:
        """Of the entries of ``x`` where ``chosen``, of the same shape, is not 0."""
        chosen = chosen.bool()
        dtype = torch.promote_types(x.dtype, torch.float32)  # half precision cannot count to 300
        return Mean.of(torch.where(chosen, x.detach(), 0.0).sum(dtype=dtype), chosen.sum(dtype=dtype))


class Largest(Tensor):
    """0-dim: the largest of its entries. -inf stands for none, and is read as NaN."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def over(x: Tensor, chosen: Tensor | None = None) -> Largest:
        """Of the entries of ``x``, at least one, where ``chosen`` is not 0."""
        held = x.detach() if chosen is None else x.detach().masked_fill(~chosen.bool(), -torch.inf)
        return held.amax().as_subclass(Largest)


class Smallest(Tensor):
    """0-dim: the smallest of its entries. inf stands for none, and is read as NaN."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def over(x: Tensor, chosen: Tensor | None = None) -> Smallest:
        held = x.detach() if chosen is None else x.detach().masked_fill(~chosen.bool(), torch.inf)
        return held.amin().as_subclass(Smallest)


class Ledger:
    """Metrics of any number of micro-batches, to be read as those of the whole, over all ranks.

    Nothing leaves the device before ``columns``: they go through one sum over ranks, and ``read`` takes its numbers. Every
    rank must have added the same keys in the same order.
    """

    def __init__(self) -> None:
        self._series: dict[str, list[Tensor]] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        for name, value in metrics.items():
            self._series.setdefault(name, []).append(value)

    def columns(self, reducer: Reducer) -> list[Tensor]:
        """1-D float64: totals, counts, and the extremes, each in this rank's place of a row of all ranks."""
        averaged, extremes = self._split()
        packed = list(_totals_and_counts([self._series[name] for name in averaged])) if averaged else []
        if extremes:
            ends = torch.stack([_end(self._series[name]) for name in extremes])
            packed.append(in_place(ends, reducer).flatten())
        return packed

    def read(self, numbers: Iterator[float], world: int) -> dict[str, float]:
        """The metrics, from what the sum over ``world`` ranks made of the columns; the ledger is empty afterwards."""
        averaged, extremes = self._split()
        signs = {name: _sign(self._series[name][0]) for name in extremes}
        totals, counts = (list(islice(numbers, len(averaged))) for _ in range(2))
        metrics = {name: t / c if c else math.nan for name, t, c in zip(averaged, totals, counts, strict=True)}
        for name, sign in signs.items():
            end = sign * max(islice(numbers, world))
            metrics[name] = end if math.isfinite(end) else math.nan
        known, self._series = self._series, {}
        return {name: metrics[name] for name in known}

    def _split(self) -> tuple[list[str], list[str]]:
        """Names of what is averaged, and of the extremes."""
        extremes = [name for name, values in self._series.items() if isinstance(values[0], Largest | Smallest)]
        return [name for name in self._series if name not in extremes], extremes


def merged(metrics: Mapping[str, Tensor], reducer: Reducer) -> dict[str, float]:
    """The metrics of one batch per rank as numbers of all ranks: one collective and one copy."""
    ledger = Ledger()
    ledger.add(metrics)
    columns = ledger.columns(reducer)
    return ledger.read(iter(reducer.sum(torch.cat(columns)).tolist()), world_of(reducer)) if columns else {}


def in_place(values: Tensor, reducer: Reducer) -> Tensor:
    """(K,) -> (K, ranks), 0 but in this rank's column: with a sum over ranks every rank has the values of all."""
    table = values.new_zeros(len(values), world_of(reducer))
    table[:, rank_of(reducer)] = values
    return table


def _sign(value: Tensor) -> float:
    return -1.0 if isinstance(value, Smallest) else 1.0


def _end(values: Sequence[Tensor]) -> Tensor:
    """0-dim: the extreme, with the sign that makes it the largest; -inf where nothing was measured."""
    signed = _sign(values[0]) * _stacked(values)
    return torch.where(signed.isnan(), -torch.inf, signed).amax()


def _stacked(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).double()


def _totals_and_counts(series: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    """(K,) float64 of each series. What is no ``Mean`` counts once where it is finite."""
    flat = [(place, value) for place, values in enumerate(series) for value in values]
    total = _stacked([value.total if isinstance(value, Mean) else value for _, value in flat])
    count = _stacked([value.count if isinstance(value, Mean) else value for _, value in flat])
    alone = torch.tensor([not isinstance(value, Mean) for _, value in flat], device=total.device)
    count = torch.where(alone, torch.isfinite(total).double(), count)
    sound = torch.isfinite(total) & (count > 0)
    both = torch.where(sound, torch.stack([total, count]), 0.0)
    place = torch.tensor([place for place, _ in flat], device=total.device)
    totals, counts = both.new_zeros(2, len(series)).index_add_(1, place, both).unbind()
    return totals, counts
