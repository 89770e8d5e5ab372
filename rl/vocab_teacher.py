"""Exact divergences of the policy from a teacher over the whole vocabulary, in tiles of both models' logits at once.

    p = softmax(student's z / temperature),   q = softmax(teacher's z / temperature);   D(p, q) as in comparison.py

A tile of each head is projected side by side: first for the two normalisers (before them, once, for the bar of a teacher's top
k), then for the sums over the vocabulary, and once more in the backward pass, which recomputes them. Nothing of size
tokens * vocabulary ever exists. The teacher is a constant. Sums run in float32, or in float64 for float64 input.

Only the first min(V, V') entries count where the teacher's head has another width than the student's: families pad their
heads differently, and no token lies beyond the smaller one. Entries that tie with a top-k bar count with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from entropostat.rl.comparison import Comparison
from entropostat.rl.truncation import merge_largest
from entropostat.rl.vocab_tiles import LIMIT, Head, Projection, Tiles, accumulate, precision

Gather = Callable[[], AbstractContextManager[Any]]
Bars = dict[int | None, Tensor]
"""top_k -> (m,) the smallest logit of the teacher that counts."""


@dataclass(frozen=True)
class Side:
    """One model at M tokens: hidden (M, D), weight (V, D), bias (V,), and how its projection becomes logits."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None = None
    head: Head = Head()  # noqa: RUF009  (frozen)
    gather: Gather = nullcontext
    """Makes a sharded weight and bias whole; entered in the forward and in the backward pass."""


def teacher_divergences(
    student: Side, teacher: Side, comparisons: tuple[Comparison, ...], tiles: Tiles | None = None
) -> tuple[Tensor, ...]:
    """(M,) for each comparison, differentiable in the student's hidden states, weight and bias."""
    if student.hidden.shape[0] != teacher.hidden.shape[0]:
        raise ValueError(
            f"divergence from the teacher: {student.hidden.shape[0]} tokens of the student, {teacher.hidden.shape[0]} of it"
        )
    size = tiles or Tiles.on(student.hidden.device)
    found: tuple[Tensor, ...] = _Compare.apply(  # type: ignore[no-untyped-call]
        student.hidden, student.weight, student.bias, student.head, student.gather, teacher, comparisons, size
    )
    return found


class _Compare(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, head: Head, gather: Gather, *how: Any
    ) -> Any:
        ctx.set_materialize_grads(False)
        teacher, comparisons, tiles = how
        ctx.how = head, gather, *how
        ctx.kinds = (
            precision(hidden),
            precision(teacher.hidden),
        )  # that of autocast, which the backward pass does not see
        with together(Side(hidden, weight, bias, head, gather), teacher, comparisons, tiles, ctx.kinds) as both:
            shape = (len(comparisons), hidden.shape[0])
            values, pushes = both.zeros(shape), both.zeros(shape)
            bars, norms = [], []
            for rows in both.rows():
                bar = rows.bars()
                norm = rows.normalisers(bar)
                for _, _, x, y in rows.tiles():
                    for i, c in enumerate(comparisons):
                        value, push = _entries(c, x, y, bar, norm)
                        values[i, rows.place] += value.sum(1)
                        pushes[i, rows.place] += push.sum(1)
                bars.append(bar)
                norms.append(norm)
        ctx.save_for_backward(hidden, weight, bias, pushes)
        ctx.found = bars, norms
        return values.unbind(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        head, gather, teacher, comparisons, tiles = ctx.how
        hidden, weight, bias, pushes = ctx.saved_tensors
        with together(Side(hidden, weight, bias, head, gather), teacher, comparisons, tiles, ctx.kinds) as both:
            zeros = [torch.zeros_like(x, dtype=both.student.sums) if asked else None
                     for x, asked in zip((hidden, weight, bias), ctx.needs_input_grad, strict=False)]  # fmt: skip
            d_hidden, d_weight, d_bias = zeros
            for rows, bar, norm in zip(both.rows(), *ctx.found, strict=True):
                for columns, w, x, y in rows.tiles():
                    d = torch.zeros_like(x)
                    for i, c in enumerate(comparisons):
                        if (g := grads[i]) is None:
                            continue
                        _, push = _entries(c, x, y, bar, norm)
                        p = torch.where(_counts(c, y, bar), (x - norm[c.top_k][0]).exp(), 0.0)
                        push -= p * pushes[i, rows.place].unsqueeze(1)
                        d += push * g[rows.place].to(d).unsqueeze(1)
                    d *= head.slope(x)
                    if d_hidden is not None:
                        accumulate(d_hidden[rows.place], d, w)
                    if d_weight is not None:
                        accumulate(d_weight[columns], d.t(), rows.chunk)
                    if d_bias is not None:
                        d_bias[columns] += d.sum(0)
        inputs = (hidden, weight, bias)
        found = (
            None if d is None else d.to(x.dtype) for d, x in zip((d_hidden, d_weight, d_bias), inputs, strict=True)
        )
        return *found, *[None] * 5


def _counts(c: Comparison, y: Tensor, bar: Bars) -> Tensor:
    return y >= bar[c.top_k].unsqueeze(1) if c.top_k is not None else torch.ones_like(y, dtype=torch.bool)


def _entries(c: Comparison, x: Tensor, y: Tensor, bar: Bars, norm: dict[int | None, tuple[Tensor, Tensor]]) -> Any:
    """(value, push) of a tile, 0 for the entries that do not count."""
    of_student, of_teacher = norm[c.top_k]
    pair = c.pointwise(x - of_student, y - of_teacher)
    if c.top_k is None:
        return pair
    counts = _counts(c, y, bar)
    return tuple(torch.where(counts, part, 0.0) for part in pair)


@contextmanager
def together(
    student: Side,
    teacher: Side,
    comparisons: tuple[Comparison, ...],
    tiles: Tiles,
    kinds: tuple[torch.dtype, torch.dtype],
) -> Iterator[Both]:
    """Inside, the weights of both are whole. ``kinds``: what their products are formed in."""
    with student.gather(), teacher.gather(), torch.autocast(student.hidden.device.type, enabled=False):
        width = min(student.weight.shape[0], teacher.weight.shape[0])
        mine, theirs = (
            Projection(side.hidden, side.weight[:width], None if side.bias is None else side.bias[:width], side.head,
                       tiles, kind)
            for side, kind in zip((student, teacher), kinds, strict=True)
        )  # fmt: skip
        tops = sorted({c.top_k for c in comparisons if c.top_k is not None})
        all_of_them: list[int | None] = [None] if any(c.top_k is None for c in comparisons) else []
        yield Both(mine, theirs, width, tops, [*tops, *all_of_them])


@dataclass(frozen=True)
class Both:
    """The projections of two models, side by side."""

    student: Projection
    teacher: Projection
    width: int
    """Entries of the vocabulary that count."""
    tops: list[int]
    kinds: list[int | None]
    """Every top_k that is asked for, None included."""

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, dtype=self.student.sums, device=self.student.hidden.device)

    def rows(self) -> Iterator[Rows]:
        for (place, chunk), (_, other) in zip(self.student.rows(), self.teacher.rows(), strict=True):
            yield Rows(self, place, chunk, other)


@dataclass
class Rows:
    """A few tokens, and the tiles of both models there."""

    both: Both
    place: slice
    chunk: Tensor
    other: Tensor

    def tiles(self) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
        """Columns, the student's weight there, and the logits over temperature of student and teacher; overwritten by the next."""
        both = self.both
        pairs = zip(both.student.columns(self.chunk), both.teacher.columns(self.other), strict=True)
        for (columns, weight, x), (_, _, y) in pairs:
            yield columns, weight, x, y.to(x)

    def bars(self) -> Bars:
        """A pass over the teacher alone, where a top k is asked for."""
        if not self.both.tops:
            return {}
        largest = min(max(self.both.tops), self.both.width)
        best = self.both.zeros((self.chunk.shape[0], largest)) - 2 * LIMIT
        for columns, _, y in self.both.teacher.columns(self.other):
            best, _ = merge_largest(best, y.to(best), None, columns.start)
        return {k: best[:, min(k, largest) - 1].clone() for k in self.both.tops}

    def normalisers(self, bar: Bars) -> dict[int | None, tuple[Tensor, Tensor]]:
        """top_k -> (m, 1) log-sum-exps of student and teacher over the entries that count."""
        none = self.both.zeros((self.chunk.shape[0],)) - torch.inf
        found = {k: (none, none) for k in self.both.kinds}
        for _, _, x, y in self.tiles():
            for k, sums in found.items():
                out = None if k is None else y < bar[k].unsqueeze(1)
                parts = (z if out is None else z.masked_fill(out, -torch.inf) for z in (x, y))
                found[k] = tuple(  # type: ignore[assignment]
                    torch.logaddexp(s, part.logsumexp(1)) for s, part in zip(sums, parts, strict=True)
                )
        return {k: (a.unsqueeze(1), b.unsqueeze(1)) for k, (a, b) in found.items()}
