"""The two steps of the vocabulary pass that touch every logit, as one Triton kernel each: fold and slope of vocab_sums.py.

    fold     reads a tile of the projection once and adds it to the running sums
    slope    reads it again and writes the gradient over it:
             dx = p (a + b log p + p (c + d log p)) + sum_k w_k exp(r_k x - lse_k) + [label] g + [top] h;   dy = dx * dx/dy

Bias, scale, softcap, temperature and the widening of half precision happen on the way, in registers: torch makes a pass
over the tile of each. The form is that of TRL's ``chunked_logprob.py``: a program a token forward, a program a token and
block of columns backward.

Differences from the torch path, all of them rounding: a slope is written in the precision of the projection, which is what
its matrix products take anyway, unless the gradient of a bias needs it whole; and tanh is 2 sigmoid(2 x) - 1, which every
back end has, to one rounding of the cap.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, import-not-found, untyped-decorator"

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from entropostat.rl.vocab_sums import Parts, Wanted
from entropostat.rl.vocab_tiles import LIMIT, Head, Projection

BLOCK = 2048
"""Columns that a program holds at a time."""
_LIMIT = tl.constexpr(LIMIT)


class Kernels:
    """Both kernels, for the tiles that a raw projection makes."""

    def __init__(self, projection: Projection, wanted: Wanted, head: Head):
        self.bias, self.wanted, self.head = projection.bias, wanted, head
        rates = [head.temperature / t for t in wanted.temperatures]
        self.rates = torch.tensor(rates or [0.0], dtype=projection.sums, device=projection.hidden.device)
        self.padded = triton.next_power_of_2(len(rates)) if rates else 0
        capped = head.softcap is not None
        self.inner = head.scale / head.softcap if head.softcap is not None else 1.0
        self.outer = (head.softcap if head.softcap is not None else head.scale) / head.temperature
        self.common = {"BIAS": self.bias is not None, "SOFTCAP": capped, "KP": self.padded, "BLOCK": BLOCK}

    def fold(self, tile: Tensor, part: Parts, columns: slice, place_of_top: bool) -> None:
        outputs = set(self.wanted.outputs)
        with torch.cuda.device_of(tile):
            _fold[(tile.shape[0],)](
                tile, tile.stride(0), self._bias(tile, columns),
                part["labels"], part["top"], part["x"], part["m"], part["s"], part["xs"], part["s2"], part["xs2"],
                part["lse"], part["lse"].stride(0), self.rates, len(self.wanted.temperatures),
                columns.start, tile.shape[1], self.inner, self.outer,
                ENTROPY=bool(outputs & {"entropy", "sum_p2_logp"}), SQUARES=bool(outputs & {"sum_p2", "sum_p2_logp"}),
                SQUARES_LOGP="sum_p2_logp" in outputs, TOP=place_of_top, **self.common,
            )  # fmt: skip

    def lines(self, part: Parts, grads: Sequence[Tensor | None]) -> Tensor:
        """(7 + 2 K, n): a, b, c, d, log Z, what is added at the label and at the largest logit; weights and lse of all T."""
        logp, logit, entropy, sum_p2, sum_p2_logp, max_logp, *more = grads
        zero = torch.zeros_like(part["log_z"])
        g_logp, g_logit, g_entropy, g_p2, g_p2_logp, g_max = (
            zero if g is None else g for g in (logp, logit, entropy, sum_p2, sum_p2_logp, max_logp)
        )
        values = {name: part.get(name, zero) for name in ("entropy", "sum_p2", "sum_p2_logp")}
        a = -g_logp - g_max - g_entropy * values["entropy"] - 2 * g_p2 * values["sum_p2"]
        a -= g_p2_logp * (2 * values["sum_p2_logp"] + values["sum_p2"])
        table = [a, -g_entropy, 2 * g_p2 + g_p2_logp, 2 * g_p2_logp, part["log_z"]]
        table += [g_logp + g_logit * self.head.temperature, g_max]
        of_lse = [zero if g is None else g for g, _ in zip(more, self.wanted.temperatures, strict=False)]
        table += [g * (self.head.temperature / t) for g, t in zip(of_lse, self.wanted.temperatures, strict=True)]
        return torch.stack([*table, *part["lse"]])

    def slope(self, tile: Tensor, part: Parts, lines: Tensor, columns: slice, exact: bool) -> Tensor:
        """Gradient with respect to a tile; over the tile itself, or if it must be ``exact`` in single precision."""
        into = torch.empty_like(tile, dtype=lines.dtype) if exact and tile.dtype != lines.dtype else tile
        with torch.cuda.device_of(tile):
            _slope[(tile.shape[0], triton.cdiv(tile.shape[1], BLOCK))](
                tile, tile.stride(0), into, self._bias(tile, columns), part["labels"], part["top"],
                lines, lines.stride(0), self.rates, len(self.wanted.temperatures),
                columns.start, tile.shape[1], self.inner, self.outer, self.head.scale / self.head.temperature,
                SQUARES=bool({"sum_p2", "sum_p2_logp"} & set(self.wanted.outputs)), **self.common,
            )  # fmt: skip
        return into

    def _bias(self, tile: Tensor, columns: slice) -> Tensor:
        return tile if self.bias is None else self.bias[columns].contiguous()


@triton.jit
def _logits(row_ptr, bias_ptr, columns, inside, inner, outer, BIAS: tl.constexpr, SOFTCAP: tl.constexpr):
    """z / temperature of some columns of a row, as Projection and Head make it. NaN stays NaN: it must be seen."""
    y = tl.load(row_ptr + columns, mask=inside, other=0.0)
    if BIAS:
        bias = tl.load(bias_ptr + columns, mask=inside, other=0.0).to(y.dtype)
        y = (y.to(tl.float32) + bias.to(tl.float32)).to(y.dtype)
    x = y.to(tl.float32)
    if SOFTCAP:
        x = 2 * tl.sigmoid(2 * inner * x) - 1
    return tl.clamp(x * outer, -_LIMIT, _LIMIT, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _fold(
    tile_ptr, tile_stride, bias_ptr,
    labels_ptr, top_ptr, x_ptr, m_ptr, s_ptr, xs_ptr, s2_ptr, xs2_ptr,
    lse_ptr, lse_stride, rates_ptr, n_rates,
    start, width, inner, outer,
    ENTROPY: tl.constexpr, SQUARES: tl.constexpr, SQUARES_LOGP: tl.constexpr, TOP: tl.constexpr,
    BIAS: tl.constexpr, SOFTCAP: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    row_ptr = tile_ptr + row * tile_stride
    m = tl.load(m_ptr + row)
    s = tl.load(s_ptr + row)
    xs = tl.load(xs_ptr + row)
    s2 = tl.load(s2_ptr + row)
    xs2 = tl.load(xs2_ptr + row)
    top = tl.load(top_ptr + row)
    if KP:
        k = tl.arange(0, KP)
        rates = tl.load(rates_ptr + k, mask=k < n_rates, other=0.0)
        lse_ptrs = lse_ptr + k * lse_stride + row
        lse = tl.load(lse_ptrs, mask=k < n_rates, other=0.0)
    for first in range(0, width, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        inside = columns < width
        x = _logits(row_ptr, bias_ptr, columns, inside, inner, outer, BIAS, SOFTCAP)
        if TOP:
            peak, place = tl.max(tl.where(inside, x, -float("inf")), axis=0, return_indices=True)
            top = tl.where(peak > m, (start + first + place).to(tl.int64), top)
        else:
            peak = tl.max(tl.where(inside, x, -float("inf")), axis=0)
        old = m
        m = tl.maximum(old, peak)
        step = old - m
        shrink = tl.exp(step)
        x = tl.where(inside, x - m, 0.0)
        e = tl.where(inside, tl.exp(x), 0.0)
        # The sums that carry a factor (x - m) move with m: they need the plain sums from before this block.
        if SQUARES_LOGP:
            xs2 = (xs2 + step * s2) * shrink * shrink + tl.sum(x * e * e, axis=0)
        if ENTROPY:
            xs = (xs + step * s) * shrink + tl.sum(x * e, axis=0)
        if SQUARES:
            s2 = s2 * shrink * shrink + tl.sum(e * e, axis=0)
        s = s * shrink + tl.sum(e, axis=0)
        if KP:
            hot = tl.where(inside[None, :], tl.exp(x[None, :] * rates[:, None]), 0.0)
            lse = lse * tl.exp(step * rates) + tl.sum(hot, axis=1)
    tl.store(m_ptr + row, m)
    tl.store(s_ptr + row, s)
    if ENTROPY:
        tl.store(xs_ptr + row, xs)
    if SQUARES:
        tl.store(s2_ptr + row, s2)
    if SQUARES_LOGP:
        tl.store(xs2_ptr + row, xs2)
    if TOP:
        tl.store(top_ptr + row, top)
    if KP:
        tl.store(lse_ptrs, lse, mask=k < n_rates)
    local = tl.load(labels_ptr + row) - start
    mine = (local >= 0) & (local < width)
    x = _logits(row_ptr, bias_ptr, local, mine, inner, outer, BIAS, SOFTCAP)
    tl.store(x_ptr + row, x, mask=mine)


@triton.jit
def _slope(
    tile_ptr, tile_stride, into_ptr, bias_ptr, labels_ptr, top_ptr,
    lines_ptr, lines_stride, rates_ptr, n_rates,
    start, width, inner, outer, factor,
    SQUARES: tl.constexpr, BIAS: tl.constexpr, SOFTCAP: tl.constexpr, KP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < width
    x = _logits(tile_ptr + row * tile_stride, bias_ptr, columns, inside, inner, outer, BIAS, SOFTCAP)
    line = lines_ptr + row
    logp = x - tl.load(line + 4 * lines_stride)
    p = tl.exp(logp)
    d = tl.load(line) + tl.load(line + lines_stride) * logp
    if SQUARES:
        d += p * (tl.load(line + 2 * lines_stride) + tl.load(line + 3 * lines_stride) * logp)
    d *= p
    if KP:
        k = tl.arange(0, KP)
        known = k < n_rates
        rates = tl.load(rates_ptr + k, mask=known, other=0.0)
        g = tl.load(line + (7 + k) * lines_stride, mask=known, other=0.0)
        lse = tl.load(line + (7 + n_rates + k) * lines_stride, mask=known, other=0.0)
        d += tl.sum(g[:, None] * tl.exp(x[None, :] * rates[:, None] - lse[:, None]), axis=0)
    place = columns + start
    d += tl.where(place == tl.load(labels_ptr + row), tl.load(line + 5 * lines_stride), 0.0)
    d += tl.where(place == tl.load(top_ptr + row), tl.load(line + 6 * lines_stride), 0.0)
    if SOFTCAP:
        t = x / outer
        d *= 1 - t * t
    tl.store(into_ptr + row * tile_stride + columns, (d * factor).to(into_ptr.dtype.element_ty), mask=inside)
