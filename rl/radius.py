"""Safe radius of an optimizer step: how far the logits may move before the loss stops looking like its Taylor series.

    change = z_new - z_old over the vocabulary;   spread = max(change) - min(change);   r = spread / pi
    s = min(1, target / r): the part of the step that keeps r at the target

Source: Ghosts of Softmax, arXiv:2603.13552. Along a line of parameters log sum exp(z + t a) has complex zeros no nearer than
t = pi / (max(a) - min(a)); beyond the nearest one its Taylor series says nothing. The log of a softmax, and with it a policy
ratio, has them too. With a = the real step, not its direction, no norm is needed.

Where paper and code differ: the paper takes the step that the optimizer makes; its repository's optimizer shrinks the
learning rate by pi over the spread of the logits themselves, which is another quantity.

What we changed:
    - the derivative of the logits is a finite difference over the whole step, not a forward-mode one: no precision is lost
      to a small step, and any attention kernel will do. Where a network saturates, as normalised layers do, the whole step
      moves the logits less than its derivative says, so that r is then a lower bound of the paper's.
    - the paper takes the largest spread of all training examples. A quantile over the tokens of a micro-batch is what a
      language model needs, and voids the guarantee: it is a proxy.

Its evidence is of networks of up to 128 dimensions; there is none for language models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from entropostat.rl.reduce import LOCAL, Reducer, quantile
from entropostat.rl.vocab_tiles import Head, Projection, Tiles

Statistic = Literal["max", "quantile"]


@dataclass(frozen=True)
class Readout:
    """What logits are made of: hidden states (M, D), and the weight (V, D) and bias (V,) of the head."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None = None


@torch.no_grad()
def change_spread(old: Readout, new: Readout, head: Head | None = None, tiles: Tiles | None = None) -> Tensor:
    """(M,) spread over the vocabulary of the change of z / temperature; two tiles exist at a time.

    In float32 at least: a step is much smaller than the logits, and half precision would read its own rounding.
    """
    dtype = torch.promote_types(old.hidden.dtype, torch.float32)
    size = tiles or Tiles.on(old.hidden.device)
    before, after = (Projection(x.hidden, x.weight, x.bias, head or Head(), size, dtype) for x in (old, new))
    largest = old.hidden.new_full(old.hidden.shape[:1], -torch.inf, dtype=dtype)
    smallest = torch.full_like(largest, torch.inf)
    with torch.autocast(old.hidden.device.type, enabled=False):
        for (rows, mine), (_, other) in zip(before.rows(), after.rows(), strict=True):
            for (_, _, x), (_, _, y) in zip(before.columns(mine), after.columns(other), strict=True):
                change = y.sub_(x)
                largest[rows] = torch.maximum(largest[rows], change.amax(1))
                smallest[rows] = torch.minimum(smallest[rows], change.amin(1))
    return largest - smallest


def step_ratio(spread: Tensor, statistic: Statistic, q: float, reducer: Reducer = LOCAL) -> Tensor:
    """0-dim r from the (M,) spreads of all ranks: 0 without a token, infinite where a change is not a number."""
    pooled = reducer.gather(torch.nan_to_num(spread, nan=torch.inf, posinf=torch.inf))
    if not pooled.numel():
        return spread.new_zeros(())
    reduced = pooled.max() if statistic == "max" else quantile(pooled, q)
    return torch.nan_to_num(reduced, nan=torch.inf, posinf=torch.inf) / math.pi  # between two infinities lies no number


def step_scale(ratio: float, target: float) -> float:
    """s, from 0 to 1. 0: the step leads to numbers that are none."""
    return 1.0 if ratio <= target else target / ratio
