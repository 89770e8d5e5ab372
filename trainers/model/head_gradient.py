"""The backward pass of TRL's fused head where terms are at work: only of the tokens that the loss pushes, in one pass over each tile.

TRL's head projects every position, and its backward pass recomputes the logits of every position too, whether or not the loss
reads it. Prompts and padding, tokens whose weight is 0 and completions without advantage have no gradient; leaving them out
changes no sum. Where TRL has no kernel for the device, its torch code takes a tile of 32,768 columns and a score of passes over it;
ours (rl/vocab_gradient.py) takes tiles that stay in the cache. The forward pass is TRL's, to the bit, and so is the backward
pass of a run without terms.

The seam is the name by which TRL's patched forward finds its head. It holds under every engine and adapter, since what
reaches the head (gathered, whole, or in autocast) is TRL's business, and so is the gathering in the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from trl.kernels import ChunkedLogProbFunction
from trl.kernels.chunked_logprob import _use_triton
from trl.trainer import utils
from trl.trainer.utils import maybe_gather_lm_head_ctx

from entropostat.rl.objective import Objective
from entropostat.rl.vocab_gradient import Scored, gradients
from entropostat.rl.vocab_tiles import Head

NAME = "_ChunkedLogProbFunction"


class PushedTokens(ChunkedLogProbFunction):
    """TRL's head with a backward pass over the tokens that have a gradient."""

    @staticmethod
    def backward(ctx: Any, of_logp: Tensor | None, of_entropy: Tensor | None, *rest: Any) -> Any:
        hidden, weight, bias, labels, log_z, entropy = ctx.saved_tensors
        everything = Scored.of(hidden, labels, log_z, entropy, of_logp, of_entropy)
        on_cpu = hidden.device.type == "cpu"
        if not on_cpu and not _use_triton(hidden.device):  # another count of tokens would mean another compilation
            return ChunkedLogProbFunction.backward(ctx, of_logp, of_entropy, *rest)
        rows = everything.pushed()
        whole = rows.numel() == hidden.shape[0]
        if whole and not on_cpu:
            return ChunkedLogProbFunction.backward(ctx, of_logp, of_entropy, *rest)
        pushed = everything if whole else everything.at(rows)
        of_hidden, of_weight, of_bias = (_ours if on_cpu else _by_kernels)(ctx, pushed, weight, bias)
        if of_hidden is not None and not whole:
            of_hidden = torch.zeros_like(hidden).index_copy_(0, rows, of_hidden)
        return of_hidden, of_weight, of_bias, *[None] * 6


def _ours(ctx: Any, pushed: Scored, weight: Any, bias: Any) -> tuple[Tensor | None, ...]:
    form = ctx.kernel_args
    head = Head(form["logit_scale"], form["softcap"] if form["HAS_SOFTCAP"] else None, 1 / form["inv_t"])
    with maybe_gather_lm_head_ctx(weight, bias), torch.autocast("cpu", enabled=False):
        found = gradients(pushed, weight, bias, head, ctx.compute_dtype, ctx.needs_input_grad[:3])
        into = (pushed.hidden.dtype, weight.dtype, None if bias is None else bias.dtype)
    return tuple(None if x is None else x.to(dtype) for x, dtype in zip(found, into, strict=True))


def _by_kernels(ctx: Any, pushed: Scored, weight: Any, bias: Any) -> tuple[Tensor | None, ...]:
    """TRL's own pass over the pushed tokens alone."""
    log_z, entropy, *slopes = pushed.table.unbind()
    saved = pushed.hidden, weight, bias, pushed.labels, log_z, entropy
    less = SimpleNamespace(
        saved_tensors=saved,
        compute_dtype=ctx.compute_dtype,
        chunk_size=ctx.chunk_size,
        kernel_args=ctx.kernel_args,
        needs_input_grad=ctx.needs_input_grad,
    )
    found: tuple[Tensor | None, ...] = ChunkedLogProbFunction.backward(less, *slopes)[:3]
    return found


def departs(objective: Objective) -> bool:
    """Whether the loss of ``objective`` is another than stock TRL's, which is matched to the bit."""
    return bool(objective.weights or objective.penalties) or not objective.loss.term.delegated


@contextmanager
def pushed_tokens(wanted: bool) -> Iterator[None]:
    """Inside, forwards of TRL's fused heads get this backward pass where it is ``wanted``, and the head is TRL's."""
    theirs = getattr(utils, NAME)
    if not wanted or theirs is not ChunkedLogProbFunction:
        yield
        return
    setattr(utils, NAME, PushedTokens)
    try:
        yield
    finally:
        setattr(utils, NAME, theirs)
