"""Statistics of the whole next-token distribution, in one tiled pass over hidden states and the language-model head.

    y = scale * (hidden @ weight.T + bias);   z = softcap * tanh(y / softcap) (or y);   p = softmax(z / temperature)

    logp          log p of the label            logit          z of the label, before the temperature
    entropy       -sum p log p                  max_logp       log of the largest p (of ties, the first gets the gradient)
    sum_p2        sum p^2                       lse            log sum exp(z / T) for each T of ``temperatures``
    sum_p2_logp   sum p^2 log p                 min_p_*, nucleus_entropy: see truncation.py
    soft_logp     sum q log p for given q: see vocab_soft.py

All are differentiable in hidden, weight and bias, except which tokens min-p keeps and how likely they are among themselves;
the sets of min-p and nucleus are constants to the gradient. Nothing of
size tokens * vocabulary ever exists: the backward pass recomputes each tile. Sums are relative to the running maximum, in
float32, or in float64 for float64 input; the projection itself runs in the precision of the input or of autocast.

The label's log-probability at any T of ``temperatures`` is logit / T - lse(T).

On CUDA with Triton one kernel reads each tile in each pass (vocab_triton.py), unless the sums are in float64 or a
truncation or soft labels are wanted. The environment's ENTROPOSTAT_VOCAB=torch keeps to torch everywhere, and =triton
takes the kernels on every device, as under Triton's interpreter on a CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from entropostat.rl.vocab_soft import SoftLabels
from entropostat.rl.vocab_sums import CONSTANT, OUTPUTS, Wanted, finish, fold, slope, start
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
    min_p_logp: Tensor | None
    """Log-probability of the label among what min-p keeps alone; see ``truncation.among_kept``."""
    min_p_ids: Tensor | None
    """(M, top_k) the largest entries of the vocabulary, and their probabilities among what min-p keeps."""
    min_p_probs: Tensor | None
    soft_logp: Tensor | None


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
    soft: SoftLabels | None = None,
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
    head = head or Head()
    asked = wanted if soft is None else replace(wanted, outputs=(*wanted.outputs, "logp", "logit"))
    results = _Pass.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, labels, asked, head, size, gather, soft
    )
    first = len(OUTPUTS) + len(wanted.temperatures)
    statistics = dict(zip(OUTPUTS, results, strict=False)) | dict(zip(LATER, results[first:], strict=True))
    if soft is not None:
        log_z = statistics["logit"] / head.temperature - statistics["logp"]
        statistics["soft_logp"] = statistics["soft_logp"] - soft.probs.sum(1) * log_z
        statistics |= {name: None for name in OUTPUTS if name not in wanted.outputs}
    return VocabStats(**statistics, lse=tuple(results[len(OUTPUTS) : first]))


def packed(hidden: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T, D) and (B, T) -> (M, D) and (M,): the tokens with mask 1 alone."""
    valid = mask.bool()
    return hidden[valid], labels[valid]


def unpacked(values: Tensor, mask: Tensor) -> Tensor:
    """(M, ...) -> (B, T, ...), 0 where the mask is 0; connected to the graph even when no token is valid."""
    shape = (*mask.shape, *values.shape[1:])
    places = mask.bool().view(*mask.shape, *[1] * (values.dim() - 1))
    return values.new_zeros(shape).masked_scatter(places, values)


LATER = (
    "min_p_mass",
    "min_p_exact",
    "nucleus_entropy",
    "nucleus_exact",
    "min_p_logp",
    "min_p_ids",
    "min_p_probs",
    "soft_logp",
)
"""Results after OUTPUTS and the temperatures. The last one leaves the pass as sum_k q_k x(id_k)."""


def _kernels(device: torch.device, dtype: torch.dtype, wanted: Wanted, soft: bool) -> Any:
    """The class of the Triton kernels where they cover all that is wanted, or None."""
    choice = os.environ.get("ENTROPOSTAT_VOCAB", "")
    if choice not in ("", "torch", "triton"):
        raise ValueError(f"ENTROPOSTAT_VOCAB={choice}: must be torch or triton")
    here = choice == "triton" or (choice == "" and device.type == "cuda" and find_spec("triton") is not None)
    plain = Wanted(wanted.outputs, wanted.temperatures, top_k=wanted.top_k)
    if not here or soft or wanted != plain or torch.promote_types(dtype, torch.float32) != torch.float32:
        return None
    from entropostat.rl.vocab_triton import Kernels  # imports Triton, which a CPU install may lack

    return Kernels


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, *how: Any) -> Any:
        ctx.set_materialize_grads(False)
        wanted, head, tiles, gather, soft = ctx.how = how
        ctx.dtype = precision(hidden)
        with gather(), torch.autocast(hidden.device.type, enabled=False):
            vocabulary = weight.shape[0]
            if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < vocabulary:
                raise IndexError(f"vocabulary statistics: labels must be in [0, {vocabulary}); leave padding out first")
            ctx.kernels = _kernels(hidden.device, ctx.dtype, wanted, soft is not None)
            projection = Projection(hidden, weight, bias, head, tiles, ctx.dtype, ctx.kernels is not None)
            fused = ctx.kernels and ctx.kernels(projection, wanted, head)
            place_of_top = "max_logp" in wanted.outputs and any(ctx.needs_input_grad)
            sums = start(hidden, labels, wanted, projection.sums)
            shares = None if soft is None else torch.zeros_like(sums["m"])
            for rows, chunk in projection.rows():
                part = {name: x[..., rows] if name == "lse" else x[rows] for name, x in sums.items()}
                for columns, _, x in projection.columns(chunk):
                    if fused is not None:
                        fused.fold(x, part, columns, place_of_top)
                        continue
                    if shares is not None:
                        shares[rows] += soft.share(x, rows, columns)
                    fold(x, part, columns, wanted, head, projection.spare, place_of_top)
        saved, results = finish(sums, wanted, head, vocabulary)
        ctx.names = tuple(saved)
        ctx.save_for_backward(hidden, weight, bias, *saved.values())
        constants = [x for x in results if x is not None and x.dtype == torch.bool]
        constants += [x for x in results[-len(CONSTANT) :] if x is not None]
        ctx.mark_non_differentiable(*constants)
        return *results, shares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        wanted, head, tiles, gather, soft = ctx.how
        hidden, weight, bias, *saved = ctx.saved_tensors
        part = dict(zip(ctx.names, saved, strict=True))
        for_hidden, for_weight, for_bias = ctx.needs_input_grad[:3]
        with gather(), torch.autocast(hidden.device.type, enabled=False):
            projection = Projection(hidden, weight, bias, head, tiles, ctx.dtype, ctx.kernels is not None)
            fused = ctx.kernels and ctx.kernels(projection, wanted, head)
            d_hidden = torch.zeros_like(hidden, dtype=projection.sums) if for_hidden else None
            d_weight = torch.zeros_like(weight, dtype=projection.sums) if for_weight else None
            d_bias = torch.zeros_like(bias, dtype=projection.sums) if for_bias else None
            for rows, chunk in projection.rows():
                mine = {name: x[..., rows] for name, x in part.items()}
                *slopes, soft_slope = [None if g is None else g[rows].to(projection.sums) for g in grads]
                lines = fused and fused.lines(mine, slopes)
                for columns, w, x in projection.columns(chunk):
                    pushed = None if soft_slope is None else soft.slope(x, soft_slope, rows, columns, head)
                    if fused is not None:
                        d = fused.slope(x, mine, lines, columns, exact=for_bias)
                    else:
                        d = slope(x, mine, slopes[: -len(CONSTANT)], columns, wanted, head, projection.spare)
                    if pushed is not None:
                        d.scatter_add_(1, *pushed)
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
            *[None] * 6,
        )
