"""Statistics of the whole next-token distribution, in one tiled pass over hidden states and the language-model head.

    y = scale * (hidden @ weight.T + bias);   z = softcap * tanh(y / softcap) (or y);   p = softmax(z / temperature)

    logp          log p of the label            logit          z of the label, before the temperature
    entropy       -sum p log p                  max_logp       log of the largest p (of ties, the first gets the gradient)
    sum_p2        sum p^2                       lse            log sum exp(z / T) for each T of ``temperatures``
    sum_p2_logp   sum p^2 log p                 min_p_mass, nucleus_entropy: see truncation.py

All are differentiable in hidden, weight and bias; the sets of min-p and nucleus are constants to the gradient. Nothing of
size tokens * vocabulary ever exists: the backward pass recomputes each tile. Sums are relative to the running maximum, in
float32, or in float64 for float64 input; the projection itself runs in the precision of the input or of autocast.

The label's log-probability at any T of ``temperatures`` is logit / T - lse(T).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from entropostat.rl.vocab_sums import OUTPUTS, Wanted, finish, fold, slope, start
from entropostat.rl.vocab_tiles import Head, Projection, Tiles, accumulate, precision

Gather = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class VocabStats:
    """(M,) tensors; None where not asked for. ``lse`` follows the order of ``temperatures``."""

    logp: Tensor | None
    logit: Tensor | None
    entropy: Tensor | None
    sum_p2: Tensor | None
    sum_p2_logp: Tensor | None
    max_logp: Tensor | None
    lse: tuple[Tensor, ...]
    min_p_mass: Tensor | None
    min_p_exact: Tensor | None
    nucleus_entropy: Tensor | None
    nucleus_exact: Tensor | None


def vocab_statistics(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    wanted: Wanted,
    *,
    bias: Tensor | None = None,
    head: Head | None = None,
    tiles: Tiles | None = None,
    gather: Gather = nullcontext,
) -> VocabStats:
    """Statistics of M tokens from hidden (M, D), weight (V, D), labels (M,) and bias (V,).

    Leave padding out first: see ``packed``. ``gather`` makes a sharded weight and bias whole, and is entered once in the
    forward and once in the backward pass.
    """
    if hidden.dim() != 2 or labels.shape != hidden.shape[:1]:
        raise ValueError(
            f"vocabulary statistics: hidden {tuple(hidden.shape)} and labels {tuple(labels.shape)} disagree"
        )
    size = tiles or Tiles.on(hidden.device)
    found = _Pass.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, labels, wanted, head or Head(), size, gather
    )
    lse = tuple(found[len(OUTPUTS) + i] for i in range(len(wanted.temperatures)))
    kept = zip(("min_p_mass", "min_p_exact", "nucleus_entropy", "nucleus_exact"), found[-4:], strict=True)
    return VocabStats(**dict(zip(OUTPUTS, found, strict=False)), lse=lse, **dict(kept))


def packed(hidden: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T, D) and (B, T) -> (M, D) and (M,): the tokens with mask 1 alone."""
    valid = mask.bool()
    return hidden[valid], labels[valid]


def unpacked(values: Tensor, mask: Tensor) -> Tensor:
    """(M,) -> (B, T), 0 where the mask is 0; connected to the graph even when no token is valid."""
    return values.new_zeros(mask.shape).masked_scatter(mask.bool(), values)


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, *how: Any) -> Any:
        ctx.set_materialize_grads(False)
        wanted, head, tiles, gather = ctx.how = how
        ctx.dtype = precision(hidden)
        with gather(), torch.autocast(hidden.device.type, enabled=False):
            vocabulary = weight.shape[0]
            if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < vocabulary:
                raise IndexError(f"vocabulary statistics: labels must be in [0, {vocabulary}); leave padding out first")
            projection = Projection(hidden, weight, bias, head, tiles, ctx.dtype)
            place_of_top = "max_logp" in wanted.outputs and any(ctx.needs_input_grad)
            sums = start(hidden, labels, wanted, projection.sums)
            for rows, chunk in projection.rows():
                part = {name: x[..., rows] if name == "lse" else x[rows] for name, x in sums.items()}
                for columns, _, x in projection.columns(chunk):
                    fold(x, part, columns, wanted, head, projection.spare, place_of_top)
        saved, results = finish(sums, wanted, head, vocabulary)
        ctx.names = tuple(saved)
        ctx.save_for_backward(hidden, weight, bias, *saved.values())
        ctx.mark_non_differentiable(*(x for x in results if x is not None and x.dtype == torch.bool))
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        wanted, head, tiles, gather = ctx.how
        hidden, weight, bias, *saved = ctx.saved_tensors
        part = dict(zip(ctx.names, saved, strict=True))
        for_hidden, for_weight, for_bias = ctx.needs_input_grad[:3]
        with gather(), torch.autocast(hidden.device.type, enabled=False):
            projection = Projection(hidden, weight, bias, head, tiles, ctx.dtype)
            d_hidden = torch.zeros_like(hidden, dtype=projection.sums) if for_hidden else None
            d_weight = torch.zeros_like(weight, dtype=projection.sums) if for_weight else None
            d_bias = torch.zeros_like(bias, dtype=projection.sums) if for_bias else None
            for rows, chunk in projection.rows():
                mine = {name: x[..., rows] for name, x in part.items()}
                slopes = [None if g is None else g[rows].to(projection.sums) for g in grads]
                for columns, w, x in projection.columns(chunk):
                    d = slope(x, mine, slopes, columns, wanted, head, projection.spare)
                    if d_hidden is not None:
                        accumulate(d_hidden[rows], d, w)
                    if d_weight is not None:
                        accumulate(d_weight[columns], d.t(), chunk)
                    if d_bias is not None:
                        d_bias[columns] += d.sum(0)
        return (
            None if d_hidden is None else d_hidden.to(hidden.dtype),
            None if d_weight is None else d_weight.to(weight.dtype),
            None if d_bias is None else d_bias.to(bias.dtype),
            *[None] * 5,
        )
